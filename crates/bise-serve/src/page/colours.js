// The switch between light and dark. A choice is kept only where it is not the system's.

import { byId } from './dom.js';

/** Makes the switch work. */
export function makeSwitch() {
  const page = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const ofSystem = () => (system.matches ? 'dark' : 'light');
  const now = () => page.dataset.theme ?? ofSystem();
  const show = () => byId('theme').setAttribute('aria-pressed', String(now() === 'dark'));
  byId('theme').addEventListener('click', () => {
    const next = now() === 'dark' ? 'light' : 'dark';
    if (next === ofSystem()) delete page.dataset.theme;
    else page.dataset.theme = next;
    show();
    try {
      if (page.dataset.theme) localStorage.setItem('bise.theme', next);
      else localStorage.removeItem('bise.theme');
    } catch {
      // It holds as long as the page is open.
    }
  });
  system.addEventListener('change', show);
  show();
}
