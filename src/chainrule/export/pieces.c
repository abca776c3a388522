// What the exported C is made of. A line "// [name: others]" begins a piece that needs the others; c_source.py writes
// down those that a model uses, with the model's own name in the place of model_ and MODEL_.

// [dense]
/* z = a W + b, in double. Zeros, of which sparse rows are full, cost nothing. */
static void dense(const double *a, const MODEL_NUMBER *weights, const MODEL_NUMBER *biases, size_t n_in, size_t n_out, double *z)
{
    size_t i, j;
    for (j = 0; j < n_out; j++)
        z[j] = biases[j];
    for (i = 0; i < n_in; i++)
        if (a[i] != 0)
            for (j = 0; j < n_out; j++)
                z[j] += a[i] * weights[i * n_out + j];
}

// [scaling]
/* x = (x - center) * factor + offset, element by element. */
static void scaling(double *x, const double *center, const double *factor, const double *offset, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        x[i] = (x[i] - center[i]) * factor[i] + offset[i];
}

// [layer_normalization]
/* x = scale * (x - mean) / sqrt(variance + epsilon) + shift, with mean and variance of x itself. */
static void layer_normalization(double *x, const MODEL_NUMBER *scale, const MODEL_NUMBER *shift, double epsilon, size_t n)
{
    double mean = 0, variance = 0;
    size_t i;
    for (i = 0; i < n; i++)
        mean += x[i] / n;
    for (i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    for (i = 0; i < n; i++)
        x[i] = scale[i] * ((x[i] - mean) / sqrt(variance + epsilon)) + shift[i];
}

// [softmax]
/* exp(x_j) / sum of exp(x_k) over every `width` elements, shifted by the largest so that nothing overflows. */
static void softmax(double *x, size_t width, size_t n)
{
    size_t start, i;
    for (start = 0; start < n; start += width) {
        double *part = x + start, largest = part[0], sum = 0;
        for (i = 1; i < width; i++)
            if (part[i] > largest)
                largest = part[i];
        for (i = 0; i < width; i++)
            sum += part[i] = exp(part[i] - largest);
        for (i = 0; i < width; i++)
            part[i] /= sum;
    }
}

// [sigmoid]
static double sigmoid(double z)
{
    double e = exp(-fabs(z));
    return (z >= 0 ? 1 : e) / (1 + e);
}

// [gaussian]
static double gaussian(double z) { return exp(-z * z); }

// [softsign]
static double softsign(double z) { return z / (1 + fabs(z)); }

// [hard_sigmoid]
static double hard_sigmoid(double z) { return z >= 3 ? 1 : z <= -3 ? 0 : z / 6 + 0.5; }

// [relu]
static double relu(double z) { return z < 0 ? 0 : z; }

// [leaky_relu]
static double leaky_relu(double z, double slope) { return z > 0 ? z : slope * z; }

// [elu]
static double elu(double z, double alpha) { return z > 0 ? z : alpha * expm1(z); }

// [selu: elu]
static double selu(double z) { return 1.0507009873554804934 * elu(z, 1.6732632423543772848); }

// [gelu]
static double gelu(double z) { return z * 0.5 * erfc(-z * 0.70710678118654752440); }

// [silu: sigmoid]
static double silu(double z) { return z * sigmoid(z); }

// [softplus]
static double softplus(double z) { return (z > 0 ? z : 0) + log1p(exp(-fabs(z))); }

// [mish: softplus]
static double mish(double z) { return z * tanh(softplus(z)); }

// [class_of_one]
int model_class(const double *outputs) { return outputs[0] >= 0.5; }

// [class_of_many]
int model_class(const double *outputs)
{
    int i, best = 0;
    for (i = 1; i < MODEL_OUTPUTS; i++)
        if (outputs[i] > outputs[best])
            best = i;
    return best;
}

// [encode_numbers]
/* Round the numbers of a row as the network was trained on them; 0, or the place of one that is not finite. */
static int encode(const double *row, double *x)
{
    int i;
    for (i = 0; i < MODEL_INPUTS; i++) {
        if (!(fabs(row[i]) <= MODEL_LARGEST))
            return i + 1;
        x[i] = (MODEL_NUMBER)row[i];
    }
    return 0;
}

// [put_number]
/* Write (value - center) / scale, with `fill` for a missing value (NAN); 1 if the result is no finite number. */
static int put_number(double value, double fill, double center, double scale, double *out)
{
    double scaled = ((isnan(value) ? fill : value) - center) / scale;
    if (!(fabs(scaled) <= FLT_MAX))
        return 1;
    *out = (float)scaled;
    return 0;
}

// [trim]
/* Return where the text without the white space around it begins, and its length. */
static const char *trim(const char *text, size_t *length)
{
    static const char *const spaces[] = {
        "\t", "\n", "\v", "\f", "\r", " ", "\034", "\035", "\036", "\037", "\302\205", "\302\240", "\341\232\200",
        "\342\200\200", "\342\200\201", "\342\200\202", "\342\200\203", "\342\200\204", "\342\200\205",
        "\342\200\206", "\342\200\207", "\342\200\210", "\342\200\211", "\342\200\212", "\342\200\250",
        "\342\200\251", "\342\200\257", "\342\201\237", "\343\200\200"};
    const size_t n_spaces = sizeof spaces / sizeof *spaces;
    size_t i, n = strlen(text);
    for (i = 0; i < n_spaces; i++) {
        size_t width = strlen(spaces[i]);
        if (n >= width && memcmp(text, spaces[i], width) == 0) {
            text += width;
            n -= width;
            i = (size_t)-1; /* and look again */
        }
    }
    for (i = 0; i < n_spaces; i++) {
        size_t width = strlen(spaces[i]);
        if (n >= width && memcmp(text + n - width, spaces[i], width) == 0) {
            n -= width;
            i = (size_t)-1;
        }
    }
    *length = n;
    return text;
}

// [same]
static int same(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

// [is_missing: same]
static int is_missing(const char *text, size_t length)
{
    static const char *const words[] = {"", "\?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>"};
    size_t i;
    for (i = 0; i < sizeof words / sizeof *words; i++)
        if (same(text, length, words[i]))
            return 1;
    return 0;
}

// [category: trim same is_missing]
/* Return the place of a text among the categories, `missing` for none at all, `other` for one that is not there. */
static int category(const char *text, const char *const *categories, int n, int missing, int other)
{
    size_t length = 0;
    int i;
    if (text != NULL)
        text = trim(text, &length);
    if (text == NULL || is_missing(text, length))
        return missing;
    for (i = 0; i < n; i++)
        if (same(text, length, categories[i]))
            return i;
    return other;
}

// [one_hot]
/* Write n zeros, and a 1 at the place, if there is one. */
static void one_hot(int place, int n, double *out)
{
    int i;
    for (i = 0; i < n; i++)
        out[i] = i == place;
}

// [digits]
/* Read n digits; -1 if there are not so many. */
static int digits(const char **at, const char *end, int n)
{
    int value = 0;
    for (; n > 0; n--, (*at)++) {
        if (*at == end || **at < '0' || **at > '9')
            return -1;
        value = 10 * value + (**at - '0');
    }
    return value;
}

// [skip]
/* Go over one character, if it is the one that comes next. */
static int skip(const char **at, const char *end, char character)
{
    int found = *at < end && **at == character;
    *at += found;
    return found;
}

// [read_date: trim is_missing digits skip]
/* Write year, month, weekday (Monday is 0), days since 1970 and hour, in UTC, of a date such as 2024-12-31 or
   2024-12-31T23:59:59.5+01:00; NAN for a missing one. 1 for any other text. */
static int read_date(const char *text, double parts[5])
{
    static const int before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int year, month, day, hour = 0, minute = 0, second = 0, zone = 0, zone_hour = 0, zone_minute = 0, n_days, leap, sound;
    double days, past, fraction = 0, unit = 0.1;
    const char *at, *end;
    size_t length = 0;
    parts[0] = parts[1] = parts[2] = parts[3] = parts[4] = NAN;
    if (text != NULL)
        text = trim(text, &length);
    if (text == NULL || is_missing(text, length))
        return 0;
    at = text;
    end = text + length;
    year = digits(&at, end, 4);
    sound = skip(&at, end, '-');
    month = digits(&at, end, 2);
    sound = skip(&at, end, '-') && sound;
    day = digits(&at, end, 2);
    if (at < end) {
        sound = (skip(&at, end, 'T') || skip(&at, end, ' ')) && sound;
        hour = digits(&at, end, 2);
        sound = skip(&at, end, ':') && sound;
        minute = digits(&at, end, 2);
        if (skip(&at, end, ':')) {
            second = digits(&at, end, 2);
            if (skip(&at, end, '.')) {
                sound = at < end && *at >= '0' && *at <= '9' && sound;
                for (; at < end && *at >= '0' && *at <= '9'; at++, unit /= 10)
                    fraction += unit * (*at - '0');
            }
        }
        if (!skip(&at, end, 'Z') && at < end) {
            zone = skip(&at, end, '+') ? 1 : -1;
            sound = (zone > 0 || skip(&at, end, '-')) && sound;
            zone_hour = digits(&at, end, 2);
            skip(&at, end, ':');
            zone_minute = digits(&at, end, 2);
        }
    }
    if (!sound || at < end || year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0
        || minute > 59 || second < 0 || second > 59 || zone_hour < 0 || zone_hour > 23 || zone_minute < 0
        || zone_minute > 59)
        return 1;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    n_days = before_month[month] - before_month[month - 1] + (leap && month == 2);
    if (day > n_days)
        return 1;
    days = 365.0 * (year - 1970) + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
    days += before_month[month - 1] + (leap && month > 2) + day - 1;
    past = 3600.0 * (hour - zone * zone_hour) + 60.0 * (minute - zone * zone_minute) + second + fraction;
    if (past < 0 || past >= 86400) { /* in UTC it is the day before, or the day after */
        int step = past < 0 ? -1 : 1;
        past -= 86400.0 * step;
        days += step;
        if (day + step < 1 || day + step > n_days)
            month += step;
        if (month < 1 || month > 12) {
            year += step;
            month = month < 1 ? 12 : 1;
        }
    }
    parts[0] = year;
    parts[1] = month;
    parts[2] = fmod(fmod(days + 3, 7) + 7, 7);
    parts[3] = days + past / 86400;
    parts[4] = 24 * (parts[3] - floor(parts[3]));
    return 0;
}

// [read_number: trim same is_missing]
/* Read a cell: NAN for a missing one, also for "nan" in any letters and with a sign; 1 for another word. */
static int read_number(const char *text, double *value)
{
    size_t length;
    char *end;
    text = trim(text, &length);
    *value = NAN;
    if (is_missing(text, length))
        return 0;
    if (same(text, length, "True") || same(text, length, "False")) {
        *value = *text == 'T';
        return 0;
    }
    if (strspn(text, "+-.0123456789eE") >= length) {
        *value = strtod(text, &end);
        return end != text + length;
    }
    if (*text == '+' || *text == '-') {
        text++;
        length--;
    }
    return length != 3 || (text[0] | 32) != 'n' || (text[1] | 32) != 'a' || (text[2] | 32) != 'n';
}

// [read_record]
/* Read one record of a CSV file into cells; return their number, 0 at the end of the file. */
static int read_record(char **cells, int most)
{
    static char record[1 << 24];
    size_t used = 0;
    int n = 1, quoted = 0, c = getchar();
    while (c == '\n' || c == '\r') /* empty lines */
        c = getchar();
    if (c == EOF)
        return 0;
    cells[0] = record;
    for (; c != EOF && (quoted || (c != '\n' && c != '\r')); c = getchar()) {
        if (used + 2 > sizeof record || n == most) {
            fprintf(stderr, "Error: a line is too long.\n");
            exit(2);
        }
        if (c == '"' && !quoted && record + used == cells[n - 1]) {
            quoted = 1;
        } else if (c == '"' && quoted) {
            c = getchar();
            if (c == '"') {
                record[used++] = '"';
            } else {
                quoted = 0;
                ungetc(c, stdin);
            }
        } else if (c == ',' && !quoted) {
            record[used++] = '\0';
            cells[n++] = record + used;
        } else {
            record[used++] = (char)c;
        }
    }
    record[used] = '\0';
    return n;
}

// [put_cell]
/* Print a cell of a CSV file, in quotes where it needs them. */
static void put_cell(const char *prefix, const char *text)
{
    int quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        putchar('"');
    printf("%s", prefix);
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    if (quoted)
        putchar('"');
}

// [put_classes: put_cell]
static void put_header(void)
{
    int i;
    printf("prediction");
    for (i = 0; i < MODEL_CLASSES; i++) {
        putchar(',');
        put_cell("probability_", model_class_names[i]);
    }
}

static void put_prediction(const double *outputs)
{
    int i;
    put_cell("", model_classes[model_class(outputs)]);
    if (MODEL_OUTPUTS == 1)
        printf(",%.*g", MODEL_DIGITS, 1 - outputs[0]);
    for (i = 0; i < MODEL_OUTPUTS; i++)
        printf(",%.*g", MODEL_DIGITS, outputs[i]);
}

// [put_numbers]
static void put_header(void)
{
    int i;
    fputs(MODEL_OUTPUTS == 1 ? "prediction" : "prediction_1", stdout);
    for (i = 2; i <= MODEL_OUTPUTS; i++)
        printf(",prediction_%d", i);
}

static void put_prediction(const double *outputs)
{
    int i;
    printf("%.*g", MODEL_DIGITS, outputs[0]);
    for (i = 1; i < MODEL_OUTPUTS; i++)
        printf(",%.*g", MODEL_DIGITS, outputs[i]);
}

// [find_columns]
/* Find the model's columns in the first line of the file; all others are left aside. */
static void find_columns(char **cells, int n, int *places)
{
    int i, j;
    for (i = 0; i < MODEL_INPUTS; i++) {
        places[i] = -1;
        for (j = 0; j < n; j++)
            if (strcmp(cells[j], column_names[i]) == 0)
                places[i] = j;
        if (places[i] < 0) {
            fprintf(stderr, "Error: the first line has no column '%s'.\n", column_names[i]);
            exit(2);
        }
    }
}

// [take_columns]
/* Take all columns in the order of the file, but for that of the target. */
static void find_columns(char **cells, int n, int *places)
{
    int j, found = 0;
    for (j = 0; j < n; j++) {
        if (strcmp(cells[j], target_name[0]) == 0)
            continue;
        if (found < MODEL_INPUTS)
            places[found] = j;
        found++;
    }
    if (found != MODEL_INPUTS) {
        fprintf(stderr, "Error: the file has %d columns of numbers; the model takes %d.\n", found, MODEL_INPUTS);
        exit(2);
    }
}

// [main]
int main(void)
{
    static char *cells[1 << 20];
    static int places[MODEL_INPUTS];
    double outputs[MODEL_OUTPUTS];
    int bad, n, n_columns, line = 1, first = getchar();
    if (first != 0xEF || getchar() != 0xBB || getchar() != 0xBF) /* the mark of UTF-8 */
        ungetc(first, stdin);
    n_columns = read_record(cells, 1 << 20);
    find_columns(cells, n_columns, places);
    put_header();
    putchar('\n');
    while ((n = read_record(cells, 1 << 20)) > 0) {
        line++;
        if (n != n_columns) {
            fprintf(stderr, "Error: record %d has %d cells; the first has %d.\n", line, n, n_columns);
            return 2;
        }
        bad = predict_cells(cells, places, outputs);
        if (bad) {
            fprintf(stderr, "Error: record %d has '%s', which the model cannot use.\n", line, cells[places[bad - 1]]);
            return 2;
        }
        put_prediction(outputs);
        putchar('\n');
    }
    return 0;
}
