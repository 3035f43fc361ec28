// Conversations as files.

import { check, newId } from './conversation.js';
import { make } from './dom.js';

const FORMAT = 'bise-conversations';
const VERSION = 1;
const MOST_BYTES = 256 * 1024 * 1024;

/** Has the browser save conversations as a file. */
export function save(conversations, name) {
  const file = { format: FORMAT, version: VERSION, conversations };
  const blob = new Blob([JSON.stringify(file, null, 2), '\n'], { type: 'application/json' });
  const url = URL.createObjectURL(blob);
  const clean = name.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').slice(0, 60);
  make('a', { href: url, download: `${clean || 'conversation'}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The conversations in a file; throws what is wrong with it. */
export async function read(file) {
  if (file.size > MOST_BYTES) throw new Error(`it has ${file.size} bytes; that is too many`);
  let value;
  try {
    value = JSON.parse(await file.text());
  } catch (error) {
    throw new Error(`it is no JSON: ${error.message}`);
  }
  if (value?.format !== FORMAT) {
    throw new Error(`its format is ${JSON.stringify(value?.format) ?? 'missing'}; expected `
      + `"${FORMAT}", as it is exported here`);
  }
  if (value.version !== VERSION) {
    throw new Error(`its version is ${JSON.stringify(value.version) ?? 'missing'}; this page `
      + `reads version ${VERSION}`);
  }
  if (!Array.isArray(value.conversations)) throw new Error('its conversations are not a list');
  return value.conversations.map((one, i) => check(one, `conversations[${i}]`));
}

/** Adds conversations to a store. One that is there already is passed over. Returns how many. */
export async function add(conversations, store) {
  let added = 0;
  for (const conversation of conversations) {
    const there = await store.get(conversation.id);
    if (there && essence(there) === essence(conversation)) continue;
    if (there) conversation.id = newId();
    await store.save(conversation, newId());
    added += 1;
  }
  return added;
}

/** What makes two conversations the same. */
function essence({ system, messages }) {
  return JSON.stringify([system, messages.map(({ role, content }) => [role, content])]);
}
