// Questions to the user, and the settings of a conversation.

import { byId, make } from './dom.js';
import { hasKey, keepKey } from './server.js';
import { NUMBERS, nothing, readNumber, readStops, writeStops } from './settings.js';

/** Shows a dialog until it is closed; `submit()` returns what it comes to, or nothing to stay. */
function show(dialog, submit) {
  return new Promise((resolve) => {
    const form = dialog.querySelector('form');
    let answer = null;
    form.onsubmit = (event) => {
      event.preventDefault();
      const found = submit();
      if (found === undefined) return;
      answer = found;
      dialog.close();
    };
    dialog.querySelector('[data-do=cancel]').onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
  });
}

/**
 * Asks a question: the text of its field, or true when it has none; null for no.
 * `field` has `label`, `value` and `type`.
 */
async function ask({ title, text, yes, isDanger = false, field = null }) {
  const dialog = byId('question');
  // One question at a time.
  if (dialog.open) dialog.close();
  const input = byId('question-field');
  byId('question-title').textContent = title;
  byId('question-text').textContent = text;
  byId('question-label').textContent = field?.label ?? '';
  byId('question-label').hidden = input.hidden = field === null;
  input.type = field?.type ?? 'text';
  input.value = field?.value ?? '';
  const button = dialog.querySelector('[type=submit]');
  button.textContent = yes;
  button.classList.toggle('danger', isDanger);
  const answer = show(dialog, () => {
    if (field === null) return true;
    return input.value.trim() === '' ? undefined : input.value.trim();
  });
  if (field) input.select();
  const given = await answer;
  input.value = '';
  return given;
}

/** Whether a conversation is to be deleted. */
export const askDelete = (title) => ask({
  title: 'Delete this conversation?',
  text: `“${title}” is removed from this browser for good.`,
  yes: 'Delete',
  isDanger: true,
});

/** A new title, or null. */
export const askTitle = (title) => ask({
  title: 'Rename the conversation',
  text: '',
  yes: 'Rename',
  field: { label: 'Title', value: title },
});

/** The server's key, or null. */
export const askKey = (wasWrong) => ask({
  title: 'This server asks for a key',
  text: `${wasWrong ? 'The key was not accepted. ' : ''}It is kept until this tab is closed.`,
  yes: 'Use it',
  field: { label: 'API key', type: 'password' },
});

/** Makes the fields for numbers. */
export function makeFields() {
  byId('settings-fields').append(...NUMBERS.map(({ name, label, hint, whole }) => make('div', {},
    make('label', { for: `set-${name}` }, label),
    make('input', {
      id: `set-${name}`,
      name,
      inputmode: whole ? 'numeric' : 'decimal',
      placeholder: 'as the server has it',
      autocomplete: 'off',
      'aria-describedby': `set-${name}-hint set-${name}-error`,
    }),
    make('p', { class: 'wrong', id: `set-${name}-error`, hidden: true }),
    make('p', { class: 'quiet', id: `set-${name}-hint` }, hint))));
}

/** Shows what is wrong with a field; null for nothing. */
function mark(field, problem) {
  const id = field.name === 'stop' ? 'stop-texts' : field.id;
  const place = byId(`${id}-error`);
  field.setAttribute('aria-invalid', String(problem !== null));
  place.textContent = problem ?? '';
  place.hidden = problem === null;
}

/** Says how much room conversations take, where the browser knows. */
async function tellStorage() {
  const told = await navigator.storage?.estimate?.().catch(() => null);
  if (told?.usage === undefined) return;
  const size = (told.usage / 1e6).toFixed(1);
  byId('storage').textContent = `Conversations take ${size} MB of this browser.`;
}

/** Asks for a system prompt and settings; null when they stay as they are. */
export function askSettings(system, settings) {
  const dialog = byId('settings');
  const form = dialog.querySelector('form');
  const fill = (system, settings) => {
    form.elements.system.value = system;
    for (const { name } of NUMBERS) {
      form.elements[name].value = settings[name] ?? '';
      mark(form.elements[name], null);
    }
    form.elements.stop.value = writeStops(settings.stop);
    mark(form.elements.stop, null);
    form.elements.json.checked = settings.json;
  };
  fill(system, settings);
  form.querySelector('[data-do=reset]').onclick = () => fill('', nothing());
  byId('key-kept').hidden = !hasKey();
  byId('key-forget').onclick = () => {
    keepKey(null);
    byId('key-kept').hidden = true;
    form.elements.system.focus();
  };
  tellStorage();
  return show(dialog, () => {
    const found = { json: form.elements.json.checked };
    const wrong = [];
    const read = (field, value) => {
      try {
        const read = value();
        mark(field, null);
        return read;
      } catch (error) {
        mark(field, error.message);
        wrong.push(field);
        return null;
      }
    };
    for (const number of NUMBERS) {
      const field = form.elements[number.name];
      const value = read(field, () => readNumber(number, field.value));
      if (value !== null) found[number.name] = value;
    }
    found.stop = read(form.elements.stop, () => readStops(form.elements.stop.value));
    if (wrong.length > 0) {
      wrong[0].focus();
      return undefined;
    }
    return { system: form.elements.system.value, settings: found };
  });
}
