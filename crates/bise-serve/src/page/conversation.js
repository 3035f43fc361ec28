// What a conversation is. It is plain data, as it is stored, exported and imported.
//
//     { id, title, named, created, updated, revision, system, settings, messages }
//
// A message is { id, role: 'user', content }, or an answer: { id, role: 'assistant', content,
// thought, state, json, finish, error, stats }, where the state is one of STATES.

import { checkSettings, nothing, requestFields } from './settings.js';

/** What becomes of an answer. */
const STATES = ['waiting', 'writing', 'done', 'stopped', 'failed'];
const TITLE = 60;

/** A name that nothing else has. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** One in which nothing was said. */
export function begin(system = '', settings = nothing()) {
  const now = Date.now();
  return {
    id: newId(),
    title: 'New conversation',
    named: false,
    created: now,
    updated: now,
    revision: 0,
    system,
    settings,
    messages: [],
  };
}

/** Adds what the user says; the first words become the title. */
export function say(conversation, content) {
  conversation.messages.push({ id: newId(), role: 'user', content });
  if (conversation.named) return;
  const first = conversation.messages.find((message) => message.role === 'user');
  const line = first.content.trim().replace(/\s+/g, ' ');
  const letters = Array.from(line);
  conversation.title = letters.length > TITLE
    ? `${letters.slice(0, TITLE - 1).join('').trimEnd()}…` : line;
}

/** Adds an answer that has not begun, and returns it. */
export function beginAnswer(conversation) {
  const answer = {
    id: newId(),
    role: 'assistant',
    content: '',
    thought: '',
    state: 'waiting',
    json: conversation.settings.json,
    finish: null,
    error: null,
    stats: null,
  };
  conversation.messages.push(answer);
  return answer;
}

/** Takes back this message and all after it. */
export function cutAt(conversation, message) {
  const at = conversation.messages.indexOf(message);
  if (at >= 0) conversation.messages.length = at;
}

/** Whether an answer may still change. */
export const isOpen = (message) => message.state === 'waiting' || message.state === 'writing';

/** The request for the answer that comes last. */
export function request(conversation, model) {
  const messages = [];
  if (conversation.system.trim() !== '') {
    messages.push({ role: 'system', content: conversation.system });
  }
  for (const { role, content } of conversation.messages.slice(0, -1)) {
    if (content === '') continue;
    const last = messages.at(-1);
    // What was said twice, because an answer had failed, is said once: roles take turns.
    if (last?.role === role) last.content += `\n\n${content}`;
    else messages.push({ role, content });
  }
  return {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...requestFields(conversation.settings),
  };
}

/** What of `value` is a conversation; throws where it is none. What is not known is left away. */
export function check(value, at) {
  const expect = (right, where, found, expected) => {
    if (right) return;
    const shown = JSON.stringify(found) ?? 'missing';
    const short = shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
    throw new Error(`${where} is ${short}; expected ${expected}`);
  };
  const isObject = (x) => typeof x === 'object' && x !== null && !Array.isArray(x);
  const text = (object, name, where) => {
    const found = object[name];
    expect(typeof found === 'string', `${where}.${name}`, found, 'a text');
    return found;
  };
  const time = (name) => {
    const found = value[name];
    const right = Number.isFinite(found) && found >= 0 && found <= 8.64e15;
    expect(right, `${at}.${name}`, found, 'milliseconds since 1970');
    return found;
  };
  const message = (found, i) => {
    const where = `${at}.messages[${i}]`;
    expect(isObject(found), where, found, 'an object');
    const { role } = found;
    expect(role === 'user' || role === 'assistant', `${where}.role`, role,
      '"user" or "assistant"');
    const said = { id: newId(), role, content: text(found, 'content', where) };
    if (role === 'user') return said;
    const state = found.state ?? 'done';
    expect(STATES.includes(state), `${where}.state`, state, STATES.join(', '));
    const maybe = (name) => (found[name] == null ? null : text(found, name, where));
    return {
      ...said,
      thought: maybe('thought') ?? '',
      state: isOpen({ state }) ? 'stopped' : state,
      json: found.json === true,
      finish: maybe('finish'),
      error: maybe('error'),
      stats: isObject(found.stats) ? checkStats(found.stats) : null,
    };
  };

  expect(isObject(value), at, value, 'an object');
  expect(Array.isArray(value.messages), `${at}.messages`, value.messages, 'a list');
  const id = text(value, 'id', at);
  expect(/^[0-9a-f]{32}$/.test(id), `${at}.id`, id, '32 hexadecimal digits');
  return {
    id,
    title: text(value, 'title', at).slice(0, 200),
    named: value.named === true,
    created: time('created'),
    updated: time('updated'),
    revision: 0,
    system: text(value, 'system', at),
    settings: checkSettings(value.settings, `${at}.settings`),
    messages: value.messages.map(message),
  };
}

/** The numbers of an answer that are numbers. */
function checkStats(stats) {
  const names = ['prompt', 'cached', 'tokens', 'pieces', 'wait', 'seconds', 'thinking'];
  const numbers = names.filter((name) => Number.isFinite(stats[name]) && stats[name] >= 0);
  return Object.fromEntries(numbers.map((name) => [name, stats[name]]));
}
