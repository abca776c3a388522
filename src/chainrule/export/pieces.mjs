// What the exported JavaScript is made of. A line "// [name: others]" begins a piece that needs the others;
// js_source.py writes down those that a model uses.

// [floats]
/** The numbers, in little-endian order, that a text in base 64 holds. */
function floats(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

// [doubles]
/** The numbers, in little-endian order, that a text in base 64 holds. */
function doubles(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
}

// [dense]
/** z = a W + b, in double: four inputs at a time go over z. Zeros, of which sparse rows are full, cost nothing. */
function dense(a, weights, biases, nIn, n, z) {
  z.set(biases);
  const values = [];
  const starts = [];
  for (let i = 0; i < nIn; i++) {
    if (a[i] === 0) continue;
    values.push(a[i]);
    starts.push(i * n);
  }
  for (; values.length % 4 > 0; starts.push(0)) values.push(0);
  for (let k = 0; k < values.length; k += 4) {
    const [a1, a2, a3, a4] = [values[k], values[k + 1], values[k + 2], values[k + 3]];
    const [w1, w2, w3, w4] = [starts[k], starts[k + 1], starts[k + 2], starts[k + 3]];
    for (let j = 0; j < n; j++) {
      z[j] = z[j] + a1 * weights[w1 + j] + a2 * weights[w2 + j] + a3 * weights[w3 + j] + a4 * weights[w4 + j];
    }
  }
}

// [denseParts: dense]
/** The same for each part of a, with weights and biases that lie so many numbers behind those of the part before. */
function denseParts(a, weights, biases, nParts, weightsStep, biasesStep, nIn, n, z) {
  for (let p = 0; p < nParts; p++) {
    const own = biases.subarray(p * biasesStep, p * biasesStep + n);
    dense(a.subarray(p * nIn), weights.subarray(p * weightsStep), own, nIn, n, z.subarray(p * n));
  }
}

// [lookUp]
/** For each code the vector of that number in its own table; NaN for a code that names none. */
function lookUp(codes, tables, firsts, sizes, nCodes, width, out) {
  for (let i = 0; i < nCodes; i++) {
    const known = codes[i] >= 0 && codes[i] < sizes[i] && Number.isInteger(codes[i]);
    for (let j = 0; j < width; j++) out[i * width + j] = known ? tables[(firsts[i] + codes[i]) * width + j] : NaN;
  }
}

// [selectColumns]
function selectColumns(x, columns, n, out) {
  for (let i = 0; i < n; i++) out[i] = x[columns[i]];
}

// [copyColumns]
function copyColumns(x, n, out, start) {
  for (let i = 0; i < n; i++) out[start + i] = x[i];
}

// [erf]
/** The error function: near 0 by the series of Abramowitz & Stegun 7.1.6, all of whose terms have one sign. */
function erf(x) {
  if (!(Math.abs(x) < 2.8)) return x > 0 ? 1 - erfc(x) : x < 0 ? erfc(-x) - 1 : x;
  let sum = 0;
  for (let n = 1, term = x; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2, term *= (2 * x * x) / n) sum += term;
  return (2 * Math.exp(-x * x) * sum) / Math.sqrt(Math.PI);
}

// [erfc: erf]
/** 1 - erf(x): in the tail by the continued fraction of Abramowitz & Stegun 7.1.14. */
function erfc(x) {
  if (!(x >= 2.8)) return 1 - erf(x);
  let fraction = x;
  for (let n = 40; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / (fraction * Math.sqrt(Math.PI));
}

// [vector]
/** The numbers that the network takes, rounded as it was trained on them. */
function encodeRow(row) {
  if (row.length !== N_INPUTS) throw new TypeError(`A row has ${N_INPUTS} numbers, and not ${row.length}.`);
  const numbers = new Float64Array(N_INPUTS);
  for (let i = 0; i < N_INPUTS; i++) {
    numbers[i] = round(row[i]);
    if (Number.isFinite(numbers[i])) continue;
    throw new TypeError(`Number ${i + 1} of the row is ${row[i]}, which is no finite number.`);
  }
  return numbers;
}

// [table]
const OUTER = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u180e\\u2000-\\u200b\\u200e\\u200f\\u2028\\u2029\\u202f\\u205f\\u2060\\u3000\\ufeff";
const AROUND = new RegExp(`^[${OUTER}]+|[${OUTER}]+$`, "gu");
const DAY = 86400;
const PATTERNS = new Map();

function refuse(name, cell, what) {
  throw new TypeError(`The column ${JSON.stringify(name)} holds ${what}, and not ${String(cell)}.`);
}

/** What a pattern finds in a whole text. */
function match(pattern, text) {
  if (text.length > 128) return null; // as no number or date is
  if (!PATTERNS.has(pattern)) PATTERNS.set(pattern, new RegExp(`^(?:${pattern})$`, "su"));
  return PATTERNS.get(pattern).exec(text);
}

/** A cell as the text that training knew it by; null where there is none. */
function cellText(cell) {
  if (cell === null || cell === undefined || Number.isNaN(cell)) return null;
  let text = String(cell);
  if (typeof cell === "boolean") text = cell ? "True" : "False";
  else if (cell === Infinity || cell === -Infinity) text = cell > 0 ? "inf" : "-inf";
  else if (Number.isInteger(cell)) text = String(BigInt(cell));
  else if (typeof cell === "number" && Math.abs(cell) < 1e-4) {
    text = cell.toExponential().replace(/e-(\d)$/, "e-0$1"); // as Python writes it
  }
  return text.normalize("NFC").replace(AROUND, "");
}

/** A number without the word after it, such as k or M, and the factor of this word. */
function withoutWord(text, { suffix, words }) {
  const end = text.replace(/[ \u00a0\u2009\u202f)]+$/u, "");
  const hasSuffix = suffix !== "" && end.endsWith(suffix);
  const rest = hasSuffix ? end.slice(0, -suffix.length).replace(/[ \u00a0\u2009\u202f]+$/u, "") : end;
  for (const [word, factor] of words) {
    if (rest.endsWith(word) && (word !== "" || rest === end)) return [rest.slice(0, rest.length - word.length), factor];
  }
  return [text, 1];
}

/** A number, or NaN where it is missing. */
function readNumber(cell, plan) {
  const { name, missing, missingNumbers, pattern, affixes, decimal, takesTrue, coerce } = plan;
  let value = NaN;
  if (typeof cell === "number") {
    value = cell;
  } else if (typeof cell === "boolean") {
    value = Number(cell);
  } else {
    const text = cellText(cell);
    if (text === null || missing.includes(text)) return NaN;
    if (takesTrue && /^[+-]?nan$/i.test(text)) return NaN;
    if (takesTrue && (text === "True" || text === "False")) return Number(text === "True");
    if (match(pattern, text) === null) {
      if (coerce) return NaN;
      refuse(name, cell, "numbers");
    }
    const [number, factor] = withoutWord(text, plan);
    const bare = affixes.reduce((rest, affix) => rest.replaceAll(affix, ""), number);
    const plain = Array.from(bare, (mark) => {
      if (mark === decimal) return ".";
      if ("(-\u2212\u2013".includes(mark)) return "-";
      return "0123456789eE+".includes(mark) ? mark : ""; // the rest are marks between digits, and white space
    });
    value = Number(plain.join("")) * factor;
  }
  return missingNumbers.includes(value) || (coerce && !Number.isFinite(value)) ? NaN : value;
}

/** Year, month and day that the groups of a date mean, by the order of the column. */
function readDay(groups, order) {
  if (groups.first !== undefined) {
    const { first, middle, last, mark } = groups;
    const isShort = last.length === 2;
    if ((order === "ymd" && !isShort) || (isShort && mark === "." && middle.length < 2)) return null;
    const inOrder = { dmy: [last, middle, first], mdy: [last, first, middle], ymd: [first, middle, last] };
    return inOrder[order];
  }
  if (groups.year === undefined) return ["1970", "1", "1"];
  if (groups.weekday && !WEEKDAYS.has(groups.weekday.toLowerCase())) return null;
  const named = groups.name && MONTHS.get(groups.name.toLowerCase().replace(/\.$/, ""));
  return [groups.year.replace("'", ""), groups.name ? named : groups.month, groups.day ?? "1"];
}

/** Seconds that the groups of a time of day mean, and those that its zone is ahead; NaN if there is no such time. */
function readTime({ hour, minute = 0, second = 0, fraction = "", half, zone }) {
  if (hour === undefined) return 0;
  let hours = Number(hour);
  if (half) {
    if (hours < 1 || hours > 12) return NaN;
    hours = (hours % 12) + (/p/i.test(half) ? 12 : 0);
  }
  if (hours > 23 || minute > 59 || second > 59) return NaN;
  let ahead = 0;
  if (zone && /^[+-]/.test(zone)) {
    const digits = zone.slice(1).replace(":", "");
    if (digits.slice(0, 2) > 23 || digits.slice(2) > 59) return NaN;
    ahead = (Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2))) * (zone[0] === "-" ? -60 : 60);
  }
  return hours * 3600 + minute * 60 + Number(second) + Number(`0.${fraction.slice(0, 6)}`) - ahead;
}

/** Year, month, weekday (Monday is 0), days since 1970 and hour, in UTC; NaN where the date is missing. */
function readDate(cell, plan) {
  const text = cell instanceof Date ? cell.toISOString() : cellText(cell);
  const nothing = [NaN, NaN, NaN, NaN, NaN];
  if (text === null || plan.missing.includes(text)) return nothing;
  const found = plan.patterns.reduce((before, pattern) => before ?? match(pattern, text), null);
  const day = found && readDay(found.groups, plan.order);
  const past = found ? readTime(found.groups) : NaN;
  if (day) {
    const [digits, month, date] = day;
    const year = Number(digits) + (digits.length > 2 ? 0 : digits < 69 ? 2000 : 1900);
    const midnight = new Date(0);
    midnight.setUTCFullYear(year, month - 1, date);
    const isDay = year > 0 && midnight.getUTCMonth() === month - 1 && midnight.getUTCDate() === Number(date);
    if (isDay && !Number.isNaN(past)) {
      const days = midnight.getTime() / 1000 / DAY + past / DAY;
      const utc = new Date(Math.floor(days) * DAY * 1000);
      const hours = (days - Math.floor(days)) * 24;
      return [utc.getUTCFullYear(), utc.getUTCMonth() + 1, (utc.getUTCDay() + 6) % 7, days, hours];
    }
  }
  return plan.coerce ? nothing : refuse(plan.name, cell, plan.written);
}

/** (value - center) / scale for each number of a column, and 1 or 0 for whether they are missing. */
function encodeNumbers(values, cell, plan) {
  const missing = values.some(Number.isNaN);
  const encoded = plan.numbers.map(({ part, fill, center, scale }) => {
    const scaled = Math.fround(((missing ? fill : values[part]) - center) / scale);
    if (!Number.isFinite(scaled)) refuse(plan.name, cell, "numbers not far from the training data");
    return scaled;
  });
  return plan.indicator ? [...encoded, Number(missing)] : encoded;
}

/** Zeros, and a 1 at the place of the category; of `other` for one that is not known, of `noPlace` for none. */
function encodeCategory(cell, plan) {
  const { categories, words, numbers, fromNumbers, missing, noPlace, other, first, end } = plan;
  const text = cellText(cell);
  let place = text === null ? noPlace : categories.indexOf(text);
  if (place < 0 && text !== null) {
    const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && (fromNumbers || typeof cell === "number");
    if (missing.includes(text)) place = noPlace;
    else place = words.get(text.toLowerCase()) ?? (number ? numbers.get(Number(text)) : undefined) ?? other;
  }
  return Array.from({ length: end - first }, (_, i) => Number(first + i === place));
}

/** The numbers that the network takes, for an object with the columns by name, or an array of them in their order. */
function encodeRow(row) {
  if (Array.isArray(row) && row.length !== PLANS.length) {
    throw new TypeError(`A row has ${PLANS.length} columns, and not ${row.length}.`);
  }
  return Float64Array.from(
    PLANS.flatMap((plan, place) => {
      const key = Array.isArray(row) ? place : plan.name;
      if (!Object.prototype.hasOwnProperty.call(row, key)) {
        throw new TypeError(`The row has no column ${JSON.stringify(plan.name)}.`);
      }
      const cell = row[key];
      if (plan.kind === "category") return encodeCategory(cell, plan);
      return encodeNumbers(plan.kind === "date" ? readDate(cell, plan) : [readNumber(cell, plan)], cell, plan);
    })
  );
}
