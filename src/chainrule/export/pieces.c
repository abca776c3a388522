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

// [dense_parts: dense]
/* The same for each part of a, with weights and biases that lie so many numbers behind those of the part before. */
static void dense_parts(const double *a, const MODEL_NUMBER *weights, const MODEL_NUMBER *biases, size_t n_parts, size_t weights_step, size_t biases_step, size_t n_in, size_t n_out, double *z)
{
    size_t p;
    for (p = 0; p < n_parts; p++)
        dense(a + p * n_in, weights + p * weights_step, biases + p * biases_step, n_in, n_out, z + p * n_out);
}

// [look_up]
/* For each code the vector of that number in its own table; NAN for a code that names none. */
static void look_up(const double *codes, const MODEL_NUMBER *tables, const int *firsts, const int *sizes, size_t n_codes, size_t width, double *out)
{
    size_t i, j;
    for (i = 0; i < n_codes; i++) {
        const int known = codes[i] >= 0 && codes[i] < sizes[i] && floor(codes[i]) == codes[i];
        const size_t row = known ? firsts[i] + (size_t)codes[i] : 0;
        for (j = 0; j < width; j++)
            out[i * width + j] = known ? tables[row * width + j] : NAN;
    }
}

// [select_columns]
static void select_columns(const double *x, const int *columns, size_t n, double *out)
{
    size_t i;
    for (i = 0; i < n; i++)
        out[i] = x[columns[i]];
}

// [copy_columns]
static void copy_columns(const double *x, size_t n, double *out, size_t start)
{
    size_t i;
    for (i = 0; i < n; i++)
        out[start + i] = x[i];
}

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
        "\342\200\251", "\342\200\257", "\342\201\237", "\343\200\200", "\341\240\216", "\342\200\213",
        "\342\200\216", "\342\200\217", "\342\201\240", "\357\273\277"};
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
static int is_missing(const char *text, size_t length, const char *const *words, int n_words)
{
    int i;
    for (i = 0; i < n_words; i++)
        if (same(text, length, words[i]))
            return 1;
    return 0;
}

// [same_letters]
/* Tell whether a text is a word, but for the case of its ASCII letters; the word is in small letters. */
static int same_letters(const char *text, size_t length, const char *word)
{
    size_t i;
    if (strlen(word) != length)
        return 0;
    for (i = 0; i < length; i++)
        if ((text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]) != word[i])
            return 0;
    return 1;
}

// [plain_number]
/* Read a number as C writes it, without white space; 1 for any other text. */
static int plain_number(const char *text, size_t length, double *value)
{
    char *end;
    if (length == 0 || strspn(text, "+-.0123456789eE") < length)
        return 1;
    *value = strtod(text, &end);
    return end != text + length;
}

// [category_type]
/* What a column of categories knows: spellings with their places; words for yes and no, in any case; numbers. */
typedef struct {
    const char *const *spellings;
    const int *places;
    int n_spellings;
    const char *const *words;
    const int *word_places;
    int n_words;
    const double *numbers;
    const int *number_places;
    int n_numbers;
    const char *const *missing_words;
    int n_missing_words, missing, other;
} category_type;

// [category: category_type trim same is_missing same_letters plain_number]
/* Return the place of a text among the categories. */
static int category(const char *text, const category_type *type)
{
    size_t length = 0;
    double value;
    int i;
    if (text == NULL)
        return type->missing;
    text = trim(text, &length);
    for (i = 0; i < type->n_spellings; i++)
        if (same(text, length, type->spellings[i]))
            return type->places[i];
    if (is_missing(text, length, type->missing_words, type->n_missing_words))
        return type->missing;
    for (i = 0; i < type->n_words; i++)
        if (same_letters(text, length, type->words[i]))
            return type->word_places[i];
    if (type->n_numbers > 0 && plain_number(text, length, &value) == 0)
        for (i = 0; i < type->n_numbers; i++)
            if (value == type->numbers[i])
                return type->number_places[i];
    return type->other;
}

// [one_hot]
/* Write n zeros, and a 1 at the place, if there is one. */
static void one_hot(int place, int n, double *out)
{
    int i;
    for (i = 0; i < n; i++)
        out[i] = i == place;
}

// [without]
/* Return NAN for a number that stands for a missing value, and any other number as it is. */
static double without(double value, const double *missing, int n)
{
    int i;
    for (i = 0; i < n; i++)
        if (value == missing[i])
            return NAN;
    return value;
}

// [code_points]
#define MODEL_LONGEST 128 /* characters of a number or a date */

/* Decode UTF-8; return the number of characters, or -1 where they are too many. */
static int code_points(const char *text, size_t length, int *characters)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    int n = 0;
    while (at < end) {
        int c = *at++, more = c < 0xC0 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (more)
            c &= 0x3F >> more;
        for (; more > 0 && at < end; more--)
            c = (c << 6) | (*at++ & 0x3F);
        if (n == MODEL_LONGEST)
            return -1;
        characters[n++] = c;
    }
    return n;
}

// [match: code_points]
/* Tell whether a program of the matcher takes all n characters from `at` on; groups begin and end at saved places.
   Instructions: 0 character, 1 set, 2 letter, 3 split, 4 jump, 5 save, 6 the same as a group, 7 end. */
static int match(const int *program, int pc, const int *text, int at, int n, int *saved)
{
    for (;;) {
        const int *op = program + pc;
        int i, found = 0, kept;
        switch (op[0]) {
        case 0:
            if (at == n || text[at] != op[1])
                return 0;
            at++;
            pc += 2;
            break;
        case 1:
            if (at == n)
                return 0;
            for (i = 0; i < op[2]; i++)
                found |= op[3 + 2 * i] <= text[at] && text[at] <= op[4 + 2 * i];
            if (found == op[1])
                return 0;
            at++;
            pc += 3 + 2 * op[2];
            break;
        case 2:
            if (at == n || !((text[at] | 32) >= 'a' && (text[at] | 32) <= 'z') || text[at] >= 0x80)
                if (at == n || text[at] < 0xAA || (text[at] >= 0x2000 && text[at] <= 0x206F))
                    return 0;
            at++;
            pc++;
            break;
        case 3:
            if (match(program, op[1], text, at, n, saved))
                return 1;
            pc = op[2];
            break;
        case 4:
            pc = op[1];
            break;
        case 5:
            kept = saved[op[1]];
            saved[op[1]] = at;
            if (match(program, pc + 2, text, at, n, saved))
                return 1;
            saved[op[1]] = kept;
            return 0;
        case 6:
            for (i = saved[2 * op[1]]; i < saved[2 * op[1] + 1]; i++, at++)
                if (at == n || text[at] != text[i])
                    return 0;
            pc += 2;
            break;
        default:
            return at == n;
        }
    }
}

// [number_type]
/* How a column writes its numbers. */
typedef struct {
    const int *pattern, *suffix;
    const int *const *affixes;
    int n_affixes;
    const int *const *words; /* after a number, such as k and M */
    const double *factors;
    int n_words, decimal;
    const char *const *missing_words;
    int n_missing_words, takes_true, coerce;
} number_type;

// [without_word: number_type]
/* Whether characters end with a null-terminated text. */
static int ends_with(const int *characters, int n, const int *text, int *length)
{
    int i;
    for (*length = 0; text[*length]; ++*length)
        ;
    for (i = 0; i < *length; i++)
        if (n < *length || characters[n - *length + i] != text[i])
            return 0;
    return 1;
}

static int without_spaces(const int *characters, int n, int mark)
{
    while (n > 0 && (characters[n - 1] == ' ' || characters[n - 1] == 0xa0 || characters[n - 1] == 0x2009
                     || characters[n - 1] == 0x202f || characters[n - 1] == mark))
        n--;
    return n;
}

/* The length of a number without the word after it, and the factor of this word. */
static int without_word(const int *characters, int n, const number_type *type, double *factor)
{
    const int end = without_spaces(characters, n, ')');
    int rest = end, length, i;
    if (ends_with(characters, end, type->suffix, &length))
        rest = without_spaces(characters, end - length, ' ');
    for (i = 0; i < type->n_words; i++)
        if (ends_with(characters, rest, type->words[i], &length) && (length > 0 || rest == end)) {
            *factor = type->factors[i];
            return rest - length;
        }
    return n;
}

// [read_number: number_type without_word trim same is_missing match]
/* Read a cell: NAN for a missing one; 1 for one that is no number of this type. */
static int read_number(const char *text, const number_type *type, double *value)
{
    int characters[MODEL_LONGEST] = {0}, at = 0, n, i, used = 0;
    char plain[MODEL_LONGEST + 2];
    double factor = 1;
    size_t length;
    text = trim(text, &length);
    *value = NAN;
    if (is_missing(text, length, type->missing_words, type->n_missing_words))
        return 0;
    if (type->takes_true) {
        size_t sign = *text == '+' || *text == '-';
        if (same(text, length, "True") || same(text, length, "False")) {
            *value = *text == 'T';
            return 0;
        }
        if (length == 3 + sign && (text[sign] | 32) == 'n' && (text[sign + 1] | 32) == 'a' && (text[sign + 2] | 32) == 'n')
            return 0;
    }
    n = code_points(text, length, characters);
    if (n < 0 || !match(type->pattern, 0, characters, 0, n, NULL))
        return type->coerce ? 0 : 1;
    n = without_word(characters, n, type, &factor);
    while (at < n) {
        const int c = characters[at];
        int width = 0;
        for (i = 0; i < type->n_affixes && width == 0; i++) {
            const int *affix = type->affixes[i];
            while (affix[width] && at + width < n && characters[at + width] == affix[width])
                width++;
            if (affix[width])
                width = 0;
        }
        if (width > 0) {
            at += width;
            continue;
        }
        if (c == type->decimal)
            plain[used++] = '.';
        else if (c == '(' || c == '-' || c == 0x2212 || c == 0x2013)
            plain[used++] = '-';
        else if ((c >= '0' && c <= '9') || c == 'e' || c == 'E' || c == '+')
            plain[used++] = (char)c;
        at++; /* all else are marks between groups of digits, and white space */
    }
    plain[used] = '\0';
    *value = strtod(plain, NULL) * factor;
    if (fabs(*value) <= DBL_MAX)
        return 0;
    *value = NAN;
    return type->coerce ? 0 : 1;
}

// [date_type]
/* How a column writes its dates: 'y' for year, month, day, 'd' for day, month, year, and 'm' for month, day, year. */
typedef struct {
    const int *const *patterns;
    int n_patterns;
    char order;
    const char *const *missing_words;
    int n_missing_words, coerce;
} date_type;

// [find_word: same_letters]
/* Return the place of some characters among words in small letters, -1 where they are none of them. */
static int find_word(const int *characters, int n, const char *const *words, int n_words)
{
    char word[4 * MODEL_LONGEST + 1];
    int i, used = 0;
    for (i = 0; i < n; i++) {
        int c = characters[i];
        if (c < 0x80) {
            word[used++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        } else {
            c = c >= 0xC0 && c <= 0xDE ? c + 32 : c;
            word[used++] = (char)(c < 0x800 ? 0xC0 | (c >> 6) : 0xE0 | (c >> 12));
            if (c >= 0x800)
                word[used++] = (char)(0x80 | ((c >> 6) & 0x3F));
            word[used++] = (char)(0x80 | (c & 0x3F));
        }
    }
    for (i = 0; i < n_words; i++)
        if (same_letters(word, (size_t)used, words[i]))
            return i;
    return -1;
}

// [month_number: find_word]
/* Return the month of a name, 0 for another word. */
static int month_number(const int *characters, int n)
{
    int place = find_word(characters, n - (n > 0 && characters[n - 1] == '.'), month_words, MODEL_MONTH_WORDS);
    return place < 0 ? 0 : month_numbers[place];
}

// [group_number]
/* Return the digits of a group as a number, or another number where it has taken part in nothing. */
static int group_number(const int *characters, const int *saved, int group, int otherwise)
{
    int i, value = 0;
    if (saved[2 * group] < 0)
        return otherwise;
    for (i = saved[2 * group]; i < saved[2 * group + 1]; i++)
        if (characters[i] >= '0' && characters[i] <= '9')
            value = 10 * value + characters[i] - '0';
    return value;
}

// [read_date: date_type trim is_missing match month_number group_number]
/* Write year, month, weekday (Monday is 0), days since 1970 and hour, in UTC; NAN for a missing date. 1 for a text that
   is none. Groups of the patterns: year, month, day, first, middle, last, mark, name, hour, minute, second, fraction,
   half, zone, weekday. */
static int read_date(const char *text, const date_type *type, double parts[5])
{
    static const int before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int c[MODEL_LONGEST] = {0}, saved[30], i, n, year, month, day, year_digits, hour, minute, second, zone = 0, leap, n_days;
    double days, past, fraction = 0, unit = 0.1;
    size_t length = 0;
    for (i = 0; i < 5; i++)
        parts[i] = NAN;
    if (text != NULL)
        text = trim(text, &length);
    if (text == NULL || is_missing(text, length, type->missing_words, type->n_missing_words))
        return 0;
    n = code_points(text, length, c);
    if (n < 0)
        return type->coerce ? 0 : 1;
    for (i = 0; i < type->n_patterns; i++) {
        int group;
        for (group = 0; group < 30; group++)
            saved[group] = -1;
        if (match(type->patterns[i], 0, c, 0, n, saved))
            break;
    }
    if (i == type->n_patterns)
        return type->coerce ? 0 : 1;
    if (saved[6] >= 0) { /* three numbers, of which the column's order says what they are */
        int year_group = type->order == 'y' ? 3 : 5;
        int is_short = saved[11] - saved[10] == 2;
        if ((type->order == 'y' && !is_short) || (is_short && c[saved[12]] == '.' && saved[9] - saved[8] < 2))
            return type->coerce ? 0 : 1;
        month = group_number(c, saved, type->order == 'm' ? 3 : 4, 0);
        day = group_number(c, saved, type->order == 'y' ? 5 : type->order == 'd' ? 3 : 4, 0);
        year = group_number(c, saved, year_group, 0);
        year_digits = saved[2 * year_group + 1] - saved[2 * year_group];
    } else if (saved[0] >= 0) {
        if (saved[28] >= 0 && find_word(c + saved[28], saved[29] - saved[28], weekday_words, MODEL_WEEKDAY_WORDS) < 0)
            return type->coerce ? 0 : 1;
        month = saved[14] >= 0 ? month_number(c + saved[14], saved[15] - saved[14]) : group_number(c, saved, 1, 0);
        day = group_number(c, saved, 2, 1);
        year = group_number(c, saved, 0, 0);
        year_digits = saved[1] - saved[0] - (c[saved[0]] == '\'');
    } else { /* a time of day */
        year = 1970;
        month = day = 1;
        year_digits = 4;
    }
    if (year_digits < 4)
        year += year < 69 ? 2000 : 1900;
    hour = group_number(c, saved, 8, 0);
    minute = group_number(c, saved, 9, 0);
    second = group_number(c, saved, 10, 0);
    if (saved[22] >= 0)
        for (i = saved[22]; i < saved[23] && i < saved[22] + 6; i++, unit /= 10)
            fraction += unit * (c[i] - '0');
    if (saved[24] >= 0) {
        if (hour < 1 || hour > 12)
            return type->coerce ? 0 : 1;
        hour = hour % 12 + ((c[saved[24]] | 32) == 'p' ? 12 : 0);
    }
    if (saved[26] >= 0 && (c[saved[26]] == '+' || c[saved[26]] == '-')) {
        int digits = group_number(c, saved, 13, 0);
        zone = (digits / 100 * 60 + digits % 100) * (c[saved[26]] == '-' ? -1 : 1);
        if (digits / 100 > 23 || digits % 100 > 59)
            return type->coerce ? 0 : 1;
    }
    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59)
        return type->coerce ? 0 : 1;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    n_days = before_month[month] - before_month[month - 1] + (leap && month == 2);
    if (day > n_days)
        return type->coerce ? 0 : 1;
    days = 365.0 * (year - 1970) + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
    days += before_month[month - 1] + (leap && month > 2) + day - 1;
    past = 3600.0 * hour + 60.0 * (minute - zone) + second + fraction;
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
    parts[4] = past / 3600;
    return 0;
}

// [next_character]
static char first_line[1 << 20]; /* read ahead, to find the separator */
static size_t n_ahead, at_ahead;
static int separator = ',', put_back = -2; /* a character that comes once more, or -2 */
static long line = 1;                      /* the one that the next character is in */

static int next_character(void)
{
    static int last;
    int c = put_back;
    put_back = -2;
    if (c != -2)
        return c;
    c = at_ahead < n_ahead ? (unsigned char)first_line[at_ahead++] : getchar();
    line += last == '\n' || (last == '\r' && c != '\n');
    return last = c;
}

/* Choose the separator that the first line has most of: a comma, a semicolon, a tab or a bar. */
static void find_separator(void)
{
    static const char marks[] = ",;\t|";
    int counts[4] = {0, 0, 0, 0}, quoted = 0, c = 0, i, best = 0;
    while (n_ahead < sizeof first_line && c != '\n' && (c = getchar()) != EOF) {
        first_line[n_ahead++] = (char)c;
        quoted ^= c == '"';
        for (i = 0; i < 4; i++)
            counts[i] += c == marks[i] && !quoted;
    }
    for (i = 1; i < 4; i++)
        if (counts[i] > counts[best])
            best = i;
    separator = marks[best];
    if (n_ahead >= 3 && memcmp(first_line, "\357\273\277", 3) == 0) /* the mark of UTF-8 */
        at_ahead = 3;
}

// [is_utf8]
/* Tell whether bytes are text in UTF-8. */
static int is_utf8(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    while (at < end) {
        long c = *at++, smallest = c < 0xE0 ? 0x80 : c < 0xF0 ? 0x800 : 0x10000;
        int more = c < 0x80 ? 0 : c < 0xC0 ? 4 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : c < 0xF8 ? 3 : 4;
        if (more == 4 || end - at < more)
            return 0;
        if (!more)
            continue;
        for (c &= 0x3F >> more; more > 0; more--, at++) {
            if ((*at & 0xC0) != 0x80)
                return 0;
            c = c * 64 + (*at & 0x3F);
        }
        if (c < smallest || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
            return 0;
    }
    return 1;
}

// [read_record: next_character is_utf8]
static long record_line; /* where the last record begins */

/* Read one record of a CSV file into cells; return their number, 0 at the end of the file. */
static int read_record(char **cells, int most)
{
    static char record[1 << 24];
    size_t used = 0;
    int n = 1, quoted = 0, is_blank = 1, c = next_character();
    while (c == '\n' || c == '\r') /* empty lines */
        c = next_character();
    if (c == EOF)
        return 0;
    record_line = line;
    cells[0] = record;
    for (; c != EOF && (quoted || (c != '\n' && c != '\r')); c = next_character()) {
        if (used + 2 > sizeof record || n == most) {
            fprintf(stderr, "Error: line %ld is too long.\n", record_line);
            exit(2);
        }
        if (c == '"' && !quoted && is_blank) {
            used = (size_t)(cells[n - 1] - record); /* spaces before the mark do not count */
            quoted = 1;
            is_blank = 0;
        } else if (c == '"' && quoted) {
            c = next_character();
            if (c == '"') {
                record[used++] = '"';
            } else {
                quoted = 0;
                put_back = c;
            }
        } else if (c == separator && !quoted) {
            record[used++] = '\0';
            cells[n++] = record + used;
            is_blank = 1;
        } else {
            record[used++] = (char)c;
            is_blank = is_blank && c == ' ';
        }
    }
    record[used] = '\0';
    if (!is_utf8(record, used)) {
        fprintf(stderr, "Error: line %ld is not UTF-8; save the file as UTF-8.\n", record_line);
        exit(2);
    }
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

// [find_columns: trim same]
/* Find the model's columns in the first line of the file; all others are left aside. */
static void find_columns(char **cells, int n, int *places)
{
    int i, j;
    for (i = 0; i < MODEL_INPUTS; i++) {
        places[i] = -1;
        for (j = 0; j < n; j++) {
            size_t length;
            const char *name = trim(cells[j], &length);
            if (!same(name, length, column_names[i]) && !same(name, length, decomposed_names[i]))
                continue;
            if (places[i] >= 0) {
                fprintf(stderr, "Error: the file has more than one column called '%s'; rename one.\n", column_names[i]);
                exit(2);
            }
            places[i] = j;
        }
        if (places[i] < 0) {
            fprintf(stderr, "Error: the first line has no column '%s'.\n", column_names[i]);
            exit(2);
        }
    }
}

static void put_column(int i)
{
    fprintf(stderr, "in the column '%s', which holds %s", column_names[i], column_kinds[i]);
}

// [take_columns: trim same]
/* Take all columns in the order of the file, but for that of the target. */
static void find_columns(char **cells, int n, int *places)
{
    int j, found = 0;
    for (j = 0; j < n; j++) {
        size_t length;
        const char *name = trim(cells[j], &length);
        if (same(name, length, target_name[0]))
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

static void put_column(int i)
{
    fprintf(stderr, "where the model takes number %d", i + 1);
}

// [main]
int main(void)
{
    static char *cells[1 << 20];
    static int places[MODEL_INPUTS];
    double outputs[MODEL_OUTPUTS];
    const char *cell;
    int bad, n, n_columns;
    long row = 0;
    find_separator();
    n_columns = read_record(cells, 1 << 20);
    if (n_columns == 0) {
        fprintf(stderr, "Error: there is no input; a table needs a line of column names and rows.\n");
        return 2;
    }
    find_columns(cells, n_columns, places);
    put_header();
    putchar('\n');
    while ((n = read_record(cells, 1 << 20)) > 0) {
        row++; /* counted without the header and empty lines */
        if (n != n_columns) {
            fprintf(stderr, "Error: line %ld has %d value%s, and the table has %d column%s.\n", record_line, n,
                    n == 1 ? "" : "s", n_columns, n_columns == 1 ? "" : "s");
            return 2;
        }
        bad = predict_cells(cells, places, outputs);
        if (bad) {
            fprintf(stderr, "Error: row %ld has '", row);
            for (cell = cells[places[bad - 1]]; *cell; cell++) /* no control character reaches a terminal */
                fputc((unsigned char)*cell < 32 || *cell == 127 ? '?' : *cell, stderr);
            fprintf(stderr, "' ");
            put_column(bad - 1);
            fprintf(stderr, "; the model cannot use it.\n");
            return 2;
        }
        put_prediction(outputs);
        putchar('\n');
    }
    return 0;
}
