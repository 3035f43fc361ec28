// Elements of the page, and what is said to those who do not see it.

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element: attributes, functions for `on...`, and children, texts among them. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** One of the pictures in index.html. */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(space, 'svg');
  picture.setAttribute('class', 'icon');
  picture.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(space, 'use');
  use.setAttribute('href', `#icon-${name}`);
  picture.append(use);
  return picture;
}

/** A button that is a picture, with a name. */
export function iconButton(name, label, onclick) {
  const attributes = { type: 'button', class: 'bare', 'aria-label': label, title: label, onclick };
  return make('button', attributes, icon(name));
}

/** A button that copies what `text` returns, and shows that it did. */
export function copyButton(label, text) {
  const button = iconButton('copy', label, async () => {
    const copied = await copy(text());
    announce(copied ? 'Copied.' : 'The browser does not allow copying.');
    if (!copied) return;
    button.replaceChildren(icon('done'));
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

/** Puts a text on the clipboard; false when the browser refuses. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that came over plain HTTP from another machine have no clipboard but this.
    const before = document.activeElement;
    const field = make('textarea', { class: 'unseen' });
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand('copy');
    field.remove();
    before?.focus();
    return copied;
  }
}

/** Has screen readers say `text` when they are done with what they say now. */
export function announce(text) {
  const announcer = byId('announcer');
  announcer.textContent = '';
  // The same words again are news only if they went away in between.
  setTimeout(() => { announcer.textContent = text; }, 50);
}

/** Whether a key press belongs to an input method, which turns several into one letter. */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

/** Makes a text field as high as its text, up to what the style allows. */
export function fitHeight(field) {
  field.style.height = 'auto';
  const borders = field.offsetHeight - field.clientHeight;
  field.style.height = `${field.scrollHeight + borders}px`;
}
