// Markdown of an answer as elements of the page.
//
// An answer is not to be trusted: it may say what a web page told the model to say. HTML in it is
// shown as it is written, pictures become links, and what is made of the rest goes through
// DOMPurify, which lets only the elements pass that are named here.

import { copyButton, make } from './dom.js';
import { Marked } from './vendor/marked.esm.js';

const { DOMPurify } = globalThis;

const PURE = {
  ALLOWED_TAGS: [
    'a', 'blockquote', 'br', 'code', 'del', 'em', 'h3', 'h4', 'h5', 'h6', 'hr', 'li', 'ol', 'p',
    'pre', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul',
  ],
  ALLOWED_ATTR: ['align', 'class', 'href', 'start', 'title'],
  ADD_URI_SAFE_ATTR: ['align', 'start'],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  RETURN_DOM_FRAGMENT: true,
};

const escaped = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => text.replace(/[&<>"']/g, (letter) => escaped[letter]);

const marked = new Marked({
  tokenizer: {
    // HTML is text, but for the line break, which tables need.
    html: () => undefined,
    tag(text) {
      const found = /^<br\s*\/?>/i.exec(text);
      return found ? { type: 'br', raw: found[0] } : undefined;
    },
  },
  renderer: {
    // The page has headings of its own above those of an answer.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || 'picture')}</a>`,
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
  },
});

/** What `tokens` of Markdown become. */
function pure(tokens) {
  const fragment = DOMPurify.sanitize(marked.parser(tokens), PURE);
  for (const link of fragment.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
  for (const table of fragment.querySelectorAll('table')) {
    const scrolls = { role: 'group', 'aria-label': 'Table', tabindex: 0 };
    const frame = make('div', { class: 'table', ...scrolls });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const pre of fragment.querySelectorAll('pre')) frameCode(pre);
  return fragment;
}

/** Gives a block of code its language's name and a button. */
function frameCode(pre) {
  const text = pre.textContent;
  const code = pre.querySelector('code');
  const language = /^language-(\S+)/.exec(code.className)?.[1] ?? '';
  code.removeAttribute('class');
  const head = make('figcaption', { class: 'code-head' }, make('span', {}, language),
    copyButton('Copy the code', () => text));
  const frame = make('figure', { class: 'code' });
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  frame.append(head, pre);
}

/** A text of JSON as Markdown that shows it. */
export function fenced(text) {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), ([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}json\n${text}\n${fence}`;
}

/** An element that shows Markdown which grows. What was shown and has not changed stays. */
export class Markdown {
  #element;
  #shown = [];

  constructor(element) {
    this.#element = element;
  }

  /** Shows `text`; all of it anew when it is complete, since a link may be explained at its end. */
  show(text, isComplete) {
    let blocks;
    try {
      blocks = marked.lexer(text).filter(({ type }) => type !== 'space' && type !== 'def');
    } catch {
      // Nested deeper than anybody reads.
      this.#element.replaceChildren(make('p', { class: 'plain' }, text));
      this.#shown = [];
      return;
    }
    let same = 0;
    while (!isComplete && same < this.#shown.length && this.#shown[same] === blocks[same]?.raw) {
      same += 1;
    }
    while (this.#element.childNodes.length > same) this.#element.lastChild.remove();
    for (const block of blocks.slice(same)) {
      const frame = make('div', { class: 'block' });
      frame.append(pure([block]));
      this.#element.append(frame);
    }
    this.#shown = blocks.map(({ raw }) => raw);
  }
}
