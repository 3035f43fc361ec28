// What may be set for the answers of a conversation, and what values make sense.

const most = Number.MAX_SAFE_INTEGER;

/** The numbers. An empty field leaves the choice to the server. */
export const NUMBERS = [
  {
    name: 'temperature', label: 'Temperature', least: 0, most: 100,
    hint: 'Higher is more varied; 0 always takes the likeliest',
  },
  {
    name: 'top_p', label: 'Top P', least: 0, most: 1,
    hint: 'Share of probability that is kept; 1 keeps all',
  },
  {
    name: 'top_k', label: 'Top K', least: 0, most: 2 ** 31 - 1, whole: true,
    hint: 'Tokens that are kept; 0 keeps all',
  },
  {
    name: 'min_p', label: 'Min P', least: 0, most: 1,
    hint: 'Least share of the likeliest one’s probability',
  },
  {
    name: 'max_tokens', label: 'Most tokens', least: 1, most, whole: true,
    hint: 'Of an answer; empty for as many as fit',
  },
  {
    name: 'seed', label: 'Seed', least: 0, most, whole: true,
    hint: 'The same seed gives the same answer',
  },
];

/** Stop texts at most. */
export const MOST_STOPS = 16;

/** What is set when nothing is. */
export const nothing = () => ({ stop: [], json: false });

/** The number in a field: null when it is empty; throws what is wrong with it. */
export function readNumber(field, text) {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  // A decimal comma is as good as a point.
  const number = Number(trimmed.replace(',', '.'));
  const wrong = problem(field, Number.isNaN(number) ? trimmed : number);
  if (wrong) throw new Error(`This is ${trimmed}; expected ${wrong}.`);
  return number;
}

/** Stop texts from the lines of a field: `\n`, `\t` and `\\` stand for what they do elsewhere. */
export function readStops(text) {
  const letters = { n: '\n', t: '\t', '\\': '\\' };
  const one = (line) => line.replace(/\\([nt\\])/g, (_, letter) => letters[letter]);
  const stops = text.split('\n').filter((line) => line !== '').map(one);
  if (stops.length > MOST_STOPS) {
    throw new Error(`There are ${stops.length}; expected at most ${MOST_STOPS}.`);
  }
  return stops;
}

/** The lines of a field with these stop texts. */
export function writeStops(stops) {
  const names = { '\n': '\\n', '\t': '\\t', '\\': '\\\\' };
  return stops.map((stop) => stop.replace(/[\n\t\\]/g, (letter) => names[letter])).join('\n');
}

/** What should be there in place of `value`; null when it may be. */
function problem({ least, most, whole }, value) {
  const right = typeof value === 'number' && value >= least && value <= most
    && (!whole || Number.isInteger(value));
  if (right) return null;
  const kind = whole ? 'a whole number' : 'a number';
  return most === Number.MAX_SAFE_INTEGER
    ? `${kind} from ${least} on` : `${kind} from ${least} to ${most.toLocaleString('en')}`;
}

/** What of `value` are settings, with where and what is wrong thrown. */
export function checkSettings(value, at) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${at} is not an object`);
  }
  const settings = nothing();
  for (const field of NUMBERS) {
    const given = value[field.name] ?? null;
    if (given === null) continue;
    const wrong = problem(field, given);
    if (wrong) {
      throw new Error(`${at}.${field.name} is ${JSON.stringify(given)}; expected ${wrong}`);
    }
    settings[field.name] = given;
  }
  const stop = value.stop ?? [];
  const isText = (text) => typeof text === 'string' && text !== '';
  if (!Array.isArray(stop) || stop.length > MOST_STOPS || !stop.every(isText)) {
    throw new Error(`${at}.stop is not a list of at most ${MOST_STOPS} texts`);
  }
  settings.stop = [...stop];
  settings.json = value.json === true;
  return settings;
}

/** The same as fields of a request. */
export function requestFields({ stop, json, ...numbers }) {
  return {
    ...numbers,
    ...(stop.length > 0 && { stop }),
    ...(json && { response_format: { type: 'json_object' } }),
  };
}
