// The messages of a conversation, as they are shown.

import { speed } from './answer.js';
import { isOpen } from './conversation.js';
import { copyButton, fitHeight, iconButton, isComposing, make } from './dom.js';
import { Markdown, fenced } from './markdown.js';

/** Pixels from the end within which the end is followed. */
const NEAR = 80;
/** Milliseconds between two pictures of an answer that is being written, at least; and how many
 * times as long as one takes to draw. */
const PAUSE = 60;
const REST = 4;

const number = (x, digits = 0) => x.toLocaleString('en', { maximumFractionDigits: digits });
const time = (s) => (s < 1 ? `${number(s * 1000)} ms` : `${number(s, 1)} s`);
const count = (n, what) => `${number(n)} ${what}${n === 1 ? '' : 's'}`;

/** The list of messages. `actions` has `edit(message, text)` and `retry(message)`. */
export class Messages {
  #list;
  #scroll;
  #actions;
  #views = new Map();
  #timer = null;
  #pause = PAUSE;
  #late = new Set();
  #follows = true;

  constructor(list, scroll, latest, actions) {
    this.#list = list;
    this.#scroll = scroll;
    this.#actions = actions;
    const look = () => {
      const { scrollHeight, scrollTop, clientHeight } = scroll;
      this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
      latest.hidden = this.#follows;
    };
    scroll.addEventListener('scroll', look);
    latest.addEventListener('click', () => this.toEnd());
    // What grows at the end is followed, whatever made it grow.
    new ResizeObserver(() => {
      if (this.#follows) this.toEnd();
      look();
    }).observe(list);
  }

  /** Shows a conversation; what was shown and is still there stays. `busy` forbids changes. */
  show({ messages }, busy) {
    const ids = new Set(messages.map(({ id }) => id));
    for (const [id, view] of this.#views) {
      if (ids.has(id)) continue;
      view.element.remove();
      this.#views.delete(id);
    }
    for (const message of messages) {
      const known = this.#views.get(message.id);
      if (known && isSame(known.message, message)) {
        known.message = message;
        continue;
      }
      const view = message.role === 'user'
        ? new Said(message, this.#actions) : new Answered(message, this.#actions);
      if (known) known.element.replaceWith(view.element);
      else this.#list.append(view.element);
      this.#views.set(message.id, view);
    }
    this.#list.classList.toggle('busy', busy);
    for (const button of this.#list.querySelectorAll('[data-changes]')) button.disabled = busy;
  }

  /** Shows what became of a message, soon while it is being written, at once when it is done. */
  update(message) {
    this.#late.add(message.id);
    if (!isOpen(message)) return this.#draw();
    this.#timer ??= setTimeout(() => this.#draw(), this.#pause);
  }

  #draw() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const begun = performance.now();
    for (const id of this.#late) this.#views.get(id)?.update();
    this.#late.clear();
    this.#pause = Math.max(PAUSE, REST * (performance.now() - begun));
  }

  /** An answer's text as it is shown. */
  textOf(message) {
    return this.#views.get(message.id)?.body?.innerText ?? message.content;
  }

  /** Shows the end, and follows it. */
  toEnd() {
    this.#follows = true;
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

/** Whether two messages look the same: one may have been read anew. */
const isSame = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);

/** A button for an action that changes the conversation. */
function change(name, label, onclick) {
  const button = iconButton(name, label, onclick);
  button.dataset.changes = '';
  return button;
}

/** What the user said. */
class Said {
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.element = make('li', { class: 'message user' });
    this.#show();
  }

  update() {}

  #show() {
    const { content } = this.message;
    this.edit = change('edit', 'Edit', () => this.#edit());
    this.element.replaceChildren(
      make('h2', { class: 'unseen' }, 'You said'),
      make('div', { class: 'bubble' }, content),
      make('div', { class: 'actions' }, copyButton('Copy', () => content), this.edit),
    );
  }

  #edit() {
    const field = make('textarea', { 'aria-label': 'Edit the message', rows: 1 });
    field.value = this.message.content;
    const leave = () => {
      this.#show();
      this.edit.focus();
    };
    const send = () => {
      const text = field.value.trim();
      if (text !== '') this.actions.edit(this.message, text);
    };
    field.addEventListener('input', () => fitHeight(field));
    const form = make('form', {
      class: 'edit',
      onsubmit: (event) => {
        event.preventDefault();
        send();
      },
      onkeydown: (event) => {
        if (isComposing(event)) return;
        if (event.key === 'Escape') {
          event.preventDefault();
          event.stopPropagation();
          leave();
        } else if (event.key === 'Enter' && !event.shiftKey && event.target === field) {
          event.preventDefault();
          send();
        }
      },
    }, field, make('p', { class: 'quiet' }, 'What came after this message is replaced.'),
    make('div', { class: 'buttons' },
      make('button', { type: 'button', onclick: leave }, 'Cancel'),
      make('button', { type: 'submit', class: 'strong' }, 'Send')));
    this.element.replaceChildren(make('h2', { class: 'unseen' }, 'You said'), form);
    fitHeight(field);
    field.focus();
  }
}

/** An answer. */
class Answered {
  constructor(message, actions) {
    this.message = message;
    const body = make('div', { class: 'body' });
    this.markdown = new Markdown(body);
    this.summary = make('summary');
    this.thoughtText = make('div', { class: 'thought-text' });
    this.thought = make('details', { class: 'thought', hidden: true }, this.summary,
      this.thoughtText);
    this.waiting = make('p', { class: 'waiting' }, make('span', { class: 'unseen' }, 'Waiting'));
    this.trouble = make('p', { class: 'trouble', hidden: true });
    const retry = () => actions.retry(this.message);
    this.again = make('button', { type: 'button', class: 'again', 'data-changes': '',
      onclick: retry }, 'Try again');
    const another = change('retry', 'Answer again', retry);
    another.classList.add('again');
    this.stats = make('p', { class: 'stats' });
    this.actions = make('div', { class: 'actions' },
      copyButton('Copy', () => this.message.content), another, this.stats);
    this.body = body;
    this.element = make('li', { class: 'message assistant' },
      make('h2', { class: 'unseen' }, 'The answer'),
      this.thought, body, this.waiting, this.trouble, this.again, this.actions);
    this.update();
  }

  update() {
    const { content, thought, state, error, json } = this.message;
    const open = isOpen(this.message);
    this.element.setAttribute('aria-busy', String(open));
    this.element.dataset.state = state;
    this.thought.hidden = thought === '';
    if (this.thoughtText.textContent !== thought) this.thoughtText.textContent = thought;
    this.summary.textContent = this.#thinking();
    this.markdown.show(json && content !== '' ? fenced(content) : content, !open);
    this.waiting.hidden = !open || content !== '' || thought !== '';
    this.trouble.hidden = error === null;
    this.trouble.textContent = error ?? '';
    this.again.hidden = error === null;
    this.actions.hidden = content === '' && (open || error !== null);
    this.stats.textContent = this.#numbers();
  }

  #thinking() {
    const { content, stats, state } = this.message;
    if (isOpen({ state }) && content === '') return 'Thinking…';
    return stats?.thinking >= 1 ? `Thought for ${count(Math.round(stats.thinking), 'second')}`
      : 'Thought';
  }

  /** How long it is, how fast it was made, and why it ended where that is news. */
  #numbers() {
    const { stats, state, finish, content } = this.message;
    const said = state === 'done' && content === '' ? ['an empty answer'] : [];
    if (stats) {
      const { tokens, pieces, prompt, cached, wait } = stats;
      said.push(tokens === undefined ? `about ${count(pieces, 'token')}` : count(tokens, 'token'));
      const rate = speed(stats);
      if (rate !== null) said.push(`${number(rate, rate < 10 ? 1 : 0)} tokens/s`);
      if (prompt !== undefined) {
        const known = cached > 0 ? `, ${number(cached)} of them known` : '';
        said.push(`after ${time(wait)}`, `prompt ${count(prompt, 'token')}${known}`);
      }
    }
    if (state === 'stopped') said.push('stopped');
    if (finish === 'length') said.push('cut at its most tokens');
    return said.join(' · ');
  }
}
