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
function dense(a, weights, biases) {
  const z = new Float64Array(biases);
  const n = z.length;
  const values = [];
  const starts = [];
  for (let i = 0; i < a.length; i++) {
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
  return z;
}

// [scaling]
/** (x - center) * factor + offset, element by element. */
function scaling(x, center, factor, offset) {
  return x.map((value, i) => (value - center[i]) * factor[i] + offset[i]);
}

// [layerNormalization]
/** scale * (x - mean) / sqrt(variance + epsilon) + shift, with mean and variance of x itself. */
function layerNormalization(x, scale, shift, epsilon) {
  const mean = x.reduce((sum, value) => sum + value / x.length, 0);
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2 / x.length, 0);
  return x.map((value, i) => (scale[i] * (value - mean)) / Math.sqrt(variance + epsilon) + shift[i]);
}

// [softmax]
/** exp(x_j) / sum of exp(x_k) over every `width` elements, shifted by the largest so that nothing overflows. */
function softmax(x, width) {
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    const part = x.subarray(start, start + width);
    const largest = part.reduce((a, b) => Math.max(a, b));
    const powers = part.map((value) => Math.exp(value - largest));
    const sum = powers.reduce((a, b) => a + b);
    out.set(powers.map((value) => value / sum), start);
  }
  return out;
}

// [sigmoid]
function sigmoid(z) {
  const e = Math.exp(-Math.abs(z));
  return (z >= 0 ? 1 : e) / (1 + e);
}

// [gaussian]
const gaussian = (z) => Math.exp(-z * z);

// [softsign]
const softsign = (z) => z / (1 + Math.abs(z));

// [hardSigmoid]
const hardSigmoid = (z) => Math.min(Math.max(z / 6 + 0.5, 0), 1);

// [relu]
const relu = (z) => Math.max(z, 0);

// [leakyRelu]
const leakyRelu = (z, slope) => (z > 0 ? z : slope * z);

// [elu]
const elu = (z, alpha) => (z > 0 ? z : alpha * Math.expm1(z));

// [selu: elu]
const selu = (z) => 1.0507009873554804934 * elu(z, 1.6732632423543772848);

// [gelu]
/**
 * z times the normal distribution Phi(z). Near 0 by the series of Abramowitz & Stegun 26.2.11, all of whose terms have
 * one sign; in the tails by the continued fraction 26.2.14.
 */
function gelu(z) {
  const x = Math.abs(z);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  let tail = 0;
  if (x < 4) {
    let sum = 0;
    for (let n = 1, term = x; term > 1e-17 * sum; n += 2, term *= (x * x) / n) sum += term;
    tail = 0.5 - density * sum;
  } else {
    let fraction = x;
    for (let n = 40; n > 0; n--) fraction = x + n / fraction;
    tail = density / fraction;
  }
  return z * (z > 0 ? 1 - tail : tail);
}

// [silu: sigmoid]
const silu = (z) => z * sigmoid(z);

// [softplus]
const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));

// [mish: softplus]
const mish = (z) => z * Math.tanh(softplus(z));

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
const WHITE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const AROUND = new RegExp(`^${WHITE}|${WHITE}$`, "g");
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(?:Z|([+-]\d\d):?(\d\d))?)?$/;
const DAY = 86400;

function refuse(name, cell, what) {
  throw new TypeError(`The column ${JSON.stringify(name)} holds ${what}, and not ${String(cell)}.`);
}

/** A cell as the text that training knew it by; null where it is missing. */
function cellText(cell) {
  if (cell === null || cell === undefined || Number.isNaN(cell)) return null;
  let text = String(cell);
  if (typeof cell === "boolean") text = cell ? "True" : "False";
  else if (cell === Infinity || cell === -Infinity) text = cell > 0 ? "inf" : "-inf";
  else if (Number.isInteger(cell)) text = String(BigInt(cell));
  else if (typeof cell === "number" && Math.abs(cell) < 1e-4) {
    text = cell.toExponential().replace(/e-(\d)$/, "e-0$1"); // as Python writes it
  }
  text = text.replace(AROUND, "");
  return MISSING.has(text) ? null : text;
}

/** A number, or NaN where it is missing. */
function readNumber(cell, name) {
  if (typeof cell === "number") return cell;
  const text = cellText(cell);
  if (text === null || /^[+-]?nan$/i.test(text)) return NaN;
  if (text === "True" || text === "False") return text === "True" ? 1 : 0;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) refuse(name, cell, "numbers");
  return Number(text);
}

/** Year, month, weekday (Monday is 0), days since 1970 and hour of the day, in UTC; NaN where the date is missing. */
function readDate(cell, name) {
  const text = cell instanceof Date ? cell.toISOString() : cellText(cell);
  if (text === null) return [NaN, NaN, NaN, NaN, NaN];
  const found = DATE.exec(text);
  if (found === null) refuse(name, cell, "dates such as 2024-12-31");
  const [year, month, day, hour, minute, second, fraction] = found.slice(1, 8).map((part) => Number(part || 0));
  const [zoneHour, zoneMinute] = found[8] ? [Number(found[8]), Number(found[8][0] + found[9])] : [0, 0];
  const midnight = new Date(0);
  midnight.setUTCFullYear(year, month - 1, day);
  const isDay = year > 0 && midnight.getUTCMonth() === month - 1 && midnight.getUTCDate() === day;
  const isTime = hour < 24 && minute < 60 && second < 60 && Math.abs(zoneHour) < 24 && Math.abs(zoneMinute) < 60;
  if (!isDay || !isTime) refuse(name, cell, "dates such as 2024-12-31");
  const past = (hour - zoneHour) * 3600 + (minute - zoneMinute) * 60 + second + fraction;
  const days = midnight.getTime() / 1000 / DAY + past / DAY;
  const date = new Date(Math.floor(days) * DAY * 1000);
  return [date.getUTCFullYear(), date.getUTCMonth() + 1, (date.getUTCDay() + 6) % 7, days, 24 * (days - Math.floor(days))];
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

/** Zeros, and a 1 at the place of the category; of `other` for one that is not known, of `missing` for none. */
function encodeCategory(cell, { categories, missing, other, first, end }) {
  const text = cellText(cell);
  const known = categories.indexOf(text);
  const place = text === null ? missing : known < 0 ? other : known;
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
      return encodeNumbers(plan.kind === "date" ? readDate(cell, plan.name) : [readNumber(cell, plan.name)], cell, plan);
    })
  );
}
