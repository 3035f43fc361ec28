// The list of conversations.

import { byId, iconButton, make } from './dom.js';

/** Shows conversations; `actions` has `open(id)`, `rename(id)` and `remove(id)`. */
export class Sidebar {
  #actions;
  #narrow = matchMedia('(max-width: 50rem)');
  #isOpen = false;

  constructor(actions) {
    this.#actions = actions;
    byId('menu').addEventListener('click', () => this.#set(true));
    byId('menu-close').addEventListener('click', () => this.#leave());
    byId('shade').addEventListener('click', () => this.#leave());
    this.#narrow.addEventListener('change', () => this.#set(false));
    this.#set(false);
  }

  /** Closes it where it lies over the page; false when it does not. */
  close() {
    if (!this.#isOpen) return false;
    this.#leave();
    return true;
  }

  #leave() {
    this.#set(false);
    byId('menu').focus();
  }

  #set(isOpen) {
    const isOver = this.#narrow.matches;
    this.#isOpen = isOpen && isOver;
    document.body.classList.toggle('menu-open', this.#isOpen);
    byId('menu').setAttribute('aria-expanded', String(this.#isOpen));
    byId('shade').hidden = !this.#isOpen;
    // What is beside the page, or behind the list, is out of reach.
    byId('sidebar').inert = isOver && !this.#isOpen;
    byId('page').inert = this.#isOpen;
    if (this.#isOpen) byId('new').focus();
  }

  /** Shows these, `shown` as the one on the page, and dots at the ones being written. */
  show(conversations, shown, running) {
    const list = byId('conversations');
    const focused = document.activeElement?.closest?.('#conversations [data-id]');
    const place = focused && [focused.dataset.id,
      [...focused.querySelectorAll('a, button')].indexOf(document.activeElement)];
    list.replaceChildren(...conversations.map(({ id, title }) => {
      const link = make('a', {
        href: `#c-${id}`,
        'aria-current': id === shown && 'page',
        title,
        onclick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          this.#set(false);
          this.#actions.open(id);
        },
      }, title);
      if (running.has(id)) link.append(make('span', { class: 'unseen' }, ', being answered'));
      return make('li', { 'data-id': id, class: running.has(id) && 'running' }, link,
        iconButton('edit', `Rename ${title}`, () => this.#actions.rename(id)),
        iconButton('delete', `Delete ${title}`, () => this.#actions.remove(id)));
    }));
    if (place) {
      const row = list.querySelector(`[data-id="${place[0]}"]`);
      row?.querySelectorAll('a, button')[place[1]]?.focus();
    }
    byId('no-conversations').hidden = conversations.length > 0;
  }
}
