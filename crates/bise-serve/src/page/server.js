// What is asked of the server, and what it says is wrong.

import { events } from './sse.js';

const KEY = 'bise.key';

/** What `/health` says, in words for people. */
const HEALTH = {
  loading: 'The model is being loaded.',
  ending: 'The server is about to end.',
  failed: 'The server has failed, and must be started again.',
};

/** Why there is no answer, in words for people. */
export class Trouble extends Error {
  constructor(message, { status = 0, code = null, progress = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.progress = progress;
  }

  /** Whether it goes by itself. */
  get isLoading() {
    return this.code === 'loading_model';
  }
}

let key = null;
let asker = null;
let asking = null;

try {
  key = sessionStorage.getItem(KEY);
} catch {
  // Then the key is known as long as the page is.
}

/** Whether a key was given. */
export const hasKey = () => key !== null;

/** `ask(wasWrong)` is called when the server wants a key; it returns one, or null. */
export function askKeyBy(ask) {
  asker = ask;
}

/** Keeps a key for this tab; null forgets it. */
export function keepKey(given) {
  key = given;
  try {
    if (given === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, given);
  } catch {
    // As above.
  }
}

/** A response that is no error. The server stands where the page came from. */
async function ask(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers };
    const shown = key;
    if (shown !== null) headers.Authorization = `Bearer ${shown}`;
    let response;
    try {
      response = await fetch(new URL(path, document.baseURI), { ...options, headers });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Trouble('The server cannot be reached. Is it still running?');
    }
    if (response.ok) return response;
    if (response.status !== 401 || !(await isGivenKey(shown))) throw await troubleOf(response);
    options.signal?.throwIfAborted();
  }
}

/** Whether there is another key than the one that was shown. One question serves all who wait. */
async function isGivenKey(shown) {
  if (asker === null) return false;
  if (key !== shown) return true;
  asking ??= askKey(shown !== null).finally(() => { asking = null; });
  const given = await asking;
  if (given !== null) keepKey(given);
  return given !== null;
}

/** A key that a header can hold: one with other letters is wrong whatever it is. */
async function askKey(wasWrong) {
  const given = await asker(wasWrong);
  return given === null || /^[\x21-\x7e]+$/.test(given) ? given : askKey(true);
}

/** What an error's body says, or its status when it says nothing. */
async function troubleOf(response) {
  const { status } = response;
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Something between here and the server has answered.
  }
  const message = body?.error?.message ?? HEALTH[body?.status]
    ?? `The server answered with status ${status}.`;
  const code = body?.status === 'loading' ? 'loading_model' : body?.error?.code;
  const percent = /(\d+) %/.exec(message)?.[1];
  const progress = body?.progress ?? (percent === undefined ? null : percent / 100);
  return new Trouble(message, { status, code, progress });
}

/** Returns when the model is loaded; a trouble that `isLoading` tells how far it is. */
export async function checkHealth() {
  await ask('health', { cache: 'no-store' });
}

/** The model's name. */
export async function modelName() {
  const models = await (await ask('v1/models', { cache: 'no-store' })).json();
  const name = models?.data?.[0]?.id;
  if (typeof name !== 'string') throw new Trouble('The server names no model.');
  return name;
}

/** The chunks of a streamed answer. Ends early only with an error. */
export async function* chat(body, signal) {
  const response = await ask('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
  try {
    for await (const data of events(response.body)) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Trouble(chunk.error.message ?? 'The server failed.', chunk.error);
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof Trouble) throw error;
    if (error instanceof SyntaxError) {
      throw new Trouble(`The server sent what is no JSON: ${error.message}`);
    }
    throw new Trouble('The connection broke before the answer was complete.');
  }
  throw new Trouble('The connection ended before the answer was complete.');
}
