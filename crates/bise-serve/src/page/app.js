// The page: what is shown, and what happens when somebody writes, clicks or presses a key.

import { write } from './answer.js';
import { makeSwitch } from './colours.js';
import { begin, beginAnswer, cutAt, isOpen, newId, say } from './conversation.js';
import { askDelete, askKey, askSettings, askTitle, makeFields } from './dialogs.js';
import { announce, byId, fitHeight, iconButton, isComposing, make } from './dom.js';
import { Messages } from './messages.js';
import { askKeyBy } from './server.js';
import { checkSettings, nothing } from './settings.js';
import { Sidebar } from './sidebar.js';
import { Memory, Store, recall, remember } from './store.js';
import * as transfer from './transfer.js';
import { currentModel, lookAgain, showLoading, watchServer } from './watch.js';

/** Milliseconds between two times that an answer is kept while it is being written. */
const KEEP = 2000;
/** Letters of an answer that are read out when it ends. */
const READ_OUT = 600;

const prompt = byId('prompt');
const messages = new Messages(byId('messages'), byId('scroll'), byId('latest'), { edit, retry });
const sidebar = new Sidebar({ open: go, rename, remove });
/** Answers that are being written, by the ids of their conversations. */
const running = new Map();
let store;
/** The one that is shown. */
let conversation = begin();

// What is shown

/** A conversation with the system prompt and settings that were used last. */
function fresh() {
  const last = recall('settings');
  try {
    return begin(String(last?.system ?? ''), checkSettings(last?.settings ?? nothing(), ''));
  } catch {
    return begin();
  }
}

/** Shows what there is. */
function draw() {
  const { id, title, messages: said } = conversation;
  const isBusy = running.has(id);
  byId('title').textContent = title;
  document.title = said.length > 0 ? `${title} · bise` : 'bise';
  byId('welcome').hidden = said.length > 0;
  byId('export').disabled = said.length === 0;
  byId('stop').hidden = !isBusy;
  byId('send').hidden = isBusy;
  byId('send').disabled = prompt.value.trim() === '';
  messages.show(conversation, isBusy);
}

/** Shows the list of all conversations. */
async function list() {
  try {
    sidebar.show(await store.all(), conversation.id, running);
  } catch (error) {
    notify(`The conversations cannot be read: ${error.message}`);
  }
}

/** Says something beside the conversation, once. */
function notify(text) {
  const notices = byId('notices');
  for (const notice of notices.children) if (notice.dataset.text === text) notice.remove();
  const notice = make('div', { class: 'notice', 'data-text': text }, make('p', {}, text),
    iconButton('close', 'Dismiss', () => {
      notice.remove();
      focusPrompt();
    }));
  notices.append(notice);
  announce(text);
}

/** Goes to a conversation, or to a new one. */
function go(id) {
  history.pushState(null, '', id ? `#c-${id}` : location.pathname + location.search);
  return show();
}

/** Shows the conversation that the address names. */
async function show() {
  const { hash } = location;
  const id = /^#c-([0-9a-f]{32})$/.exec(hash)?.[1];
  let found = null;
  try {
    found = id && (running.get(id)?.conversation ?? await store.get(id));
    if (id && !found) notify('This conversation is not in this browser.');
  } catch (error) {
    notify(`This conversation cannot be read: ${error.message}`);
  }
  if (hash !== location.hash) return;
  take(found || fresh());
  messages.toEnd();
  focusPrompt();
  await list();
}

/** Makes ready for the next message, unless that brings up a keyboard over half of the page. */
function focusPrompt() {
  if (!matchMedia('(hover: none)').matches) prompt.focus();
}

/** Shows a conversation that was read. */
function take(found) {
  conversation = found;
  if (!running.has(found.id)) {
    // Whoever was writing it has gone, or writes it in another tab.
    for (const message of found.messages) if (isOpen(message)) message.state = 'stopped';
  }
  draw();
}

/** Keeps a conversation in the browser. */
async function keep(kept) {
  const { id } = kept;
  try {
    const outcome = await store.save(kept, newId());
    if (outcome === 'removed') {
      running.get(id)?.controller.abort();
      if (conversation === kept) leaveRemoved();
    } else if (outcome === 'copied') {
      const answer = running.get(id);
      running.delete(id);
      if (answer) running.set(kept.id, answer);
      notify('Another tab has changed this conversation too: both are kept.');
    }
    if (conversation === kept && outcome !== 'removed') {
      history.replaceState(null, '', `#c-${kept.id}`);
      draw();
    }
  } catch (error) {
    const isFull = error?.name === 'QuotaExceededError';
    notify(isFull
      ? 'The browser has no more room for conversations. This one is not kept: export it, or '
        + 'delete others.'
      : `This conversation cannot be kept: ${error?.message ?? 'the browser refuses'}. Export it.`);
  }
}

/** What is shown was deleted elsewhere. */
function leaveRemoved() {
  notify('This conversation was deleted in another tab.');
  go(null);
}

/** Another tab has written or removed a conversation. */
async function changedElsewhere(id) {
  if (id === conversation.id && !running.has(id)) {
    const found = await store.get(id);
    if (id === conversation.id && !running.has(id)) {
      if (found) take(found);
      else if (conversation.revision > 0) leaveRemoved();
    }
  }
  await list();
}

// What is said

/** Sends what stands in the field. */
function send() {
  const text = prompt.value.trim();
  if (text === '' || running.has(conversation.id)) return;
  prompt.value = '';
  fitHeight(prompt);
  say(conversation, text);
  answer(conversation);
}

/** Says something else in a message's place. */
async function edit(message, text) {
  const edited = conversation;
  await stop(edited.id);
  cutAt(edited, message);
  say(edited, text);
  answer(edited);
  focusPrompt();
}

/** Has another answer written in the place of one. */
async function retry(message) {
  const retried = conversation;
  await stop(retried.id);
  cutAt(retried, message);
  answer(retried);
  focusPrompt();
}

/** Ends the answer that is being written in a conversation. */
async function stop(id) {
  const answer = running.get(id);
  answer?.controller.abort();
  await answer?.done;
}

/** Has the next answer written. */
function answer(asked) {
  const message = beginAnswer(asked);
  const controller = new AbortController();
  const entry = { conversation: asked, controller };
  running.set(asked.id, entry);
  asked.updated = Date.now();
  const kept = keep(asked).then(list);
  const timer = setInterval(() => keep(asked), KEEP);
  const hooks = {
    changed: () => { if (conversation === asked) messages.update(message); },
    loading: showLoading,
  };
  entry.done = write(asked, message, currentModel, controller.signal, hooks).then(async () => {
    clearInterval(timer);
    await kept;
    running.delete(asked.id);
    asked.updated = Date.now();
    if (conversation === asked) draw();
    tell(asked, message);
    // A key or a connection may be there now, or gone.
    lookAgain();
    await keep(asked);
    await list();
  });
  draw();
  messages.toEnd();
}

/** Tells those who do not see it that an answer has ended. */
function tell(asked, message) {
  const where = conversation === asked ? '' : ` in “${asked.title}”`;
  if (message.state === 'failed') return announce(`No answer${where}: ${message.error}`);
  if (message.state === 'stopped') return announce(`Stopped${where}.`);
  if (where !== '') return announce(`The answer${where} is complete.`);
  const text = messages.textOf(message);
  const rest = text.length > READ_OUT ? ' … There is more.' : '';
  return announce(`The answer: ${text.slice(0, READ_OUT)}${rest}`);
}

// What is done with conversations

async function rename(id) {
  const named = running.get(id)?.conversation ?? (id === conversation.id ? conversation
    : await store.get(id));
  const title = named && await askTitle(named.title);
  if (!title) return;
  Object.assign(named, { title: title.slice(0, 200), named: true });
  await keep(named);
  draw();
  await list();
}

async function remove(id) {
  const { title } = await store.get(id) ?? conversation;
  if (!await askDelete(title)) return;
  await stop(id);
  await store.remove(id);
  announce('Deleted.');
  if (id === conversation.id) await go(null);
  else await list();
  byId('new').focus();
}

async function changeSettings() {
  const changed = conversation;
  const answer = await askSettings(changed.system, changed.settings);
  if (answer === null) return;
  Object.assign(changed, answer);
  remember('settings', answer);
  if (changed.messages.length > 0) await keep(changed);
}

async function importFile(file) {
  try {
    const read = await transfer.read(file);
    const added = await transfer.add(read, store);
    const known = read.length - added;
    const were = known > 0 ? ` ${known} of the ${read.length} in the file were there already.` : '';
    notify(`${added} ${added === 1 ? 'conversation was' : 'conversations were'} imported.${were}`);
  } catch (error) {
    notify(`${file.name} was not imported: ${error.message}.`);
  }
  await list();
}

// Keys and clicks

function listen() {
  const on = (id, event, action) => byId(id).addEventListener(event, action);
  on('composer', 'submit', (event) => {
    event.preventDefault();
    send();
  });
  on('prompt', 'input', () => {
    fitHeight(prompt);
    byId('send').disabled = prompt.value.trim() === '';
  });
  on('prompt', 'keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    send();
  });
  on('stop', 'click', () => {
    focusPrompt();
    stop(conversation.id);
  });
  on('new', 'click', () => startNew());
  on('export', 'click', () => transfer.save([conversation], conversation.title));
  on('export-all', 'click', async () => transfer.save(await store.all(), 'conversations'));
  on('import', 'click', () => byId('import-file').click());
  on('import-file', 'change', async ({ target }) => {
    const [file] = target.files;
    if (file) await importFile(file);
    target.value = '';
  });
  on('settings-open', 'click', changeSettings);
  addEventListener('popstate', show);
  document.addEventListener('keydown', (event) => {
    const isDialog = document.querySelector('dialog[open]') !== null;
    if (event.key === 'Escape' && !isDialog && !isComposing(event) && !sidebar.close()) {
      stop(conversation.id);
    } else if (event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey)
      && !event.shiftKey && !event.altKey && !isDialog) {
      event.preventDefault();
      startNew();
    }
  });
  // The last moment that a page surely sees.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) for (const { conversation: asked } of running.values()) keep(asked);
  });
}

/** Begins a conversation. */
function startNew() {
  sidebar.close();
  go(null);
}

async function start() {
  if (/Mac|iPhone|iPad/.test(navigator.platform)) byId('new-key').textContent = '⌘ K';
  makeSwitch();
  makeFields();
  askKeyBy(askKey);
  watchServer();
  try {
    store = await Store.open();
  } catch {
    store = new Memory();
    notify('This browser keeps no conversations: they last as long as this page is open.');
  }
  store.watch(changedElsewhere);
  listen();
  await show();
}

start();
