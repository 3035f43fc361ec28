// Whether the server is there, and how far its model is.

import { byId } from './dom.js';
import { checkHealth, modelName } from './server.js';

/** Milliseconds to the next look, by what the last one found. */
const PAUSES = { ready: 30_000, loading: 1000, away: 3000 };

let model;
let wake = () => {};

/** The model's name, when it is known. */
export const currentModel = () => model;

/** Looks now. */
export const lookAgain = () => wake();

/** Shows how far a model is, from 0 to 1, that is being loaded; null when that is not known. */
export function showLoading(progress) {
  const percent = progress === null ? '' : ` ${Math.floor(progress * 100)} %`;
  show('loading', `Loading${percent}`, progress);
}

/** Looks at the server as long as the page is open. */
export async function watchServer() {
  for (;;) {
    const state = await look();
    await new Promise((resolve) => {
      wake = resolve;
      // Without a key there is nothing to see; a page that is not seen need not know.
      if (state !== 'locked' && !document.hidden) setTimeout(resolve, PAUSES[state]);
    });
  }
}

async function look() {
  try {
    await checkHealth();
    model = await modelName();
    show('ready', model);
    return 'ready';
  } catch (trouble) {
    if (trouble.isLoading) {
      showLoading(trouble.progress);
      return 'loading';
    }
    if (trouble.status === 401) {
      show('locked', 'A key is needed');
      return 'locked';
    }
    show('away', trouble.status ? trouble.message : 'No connection; trying again');
    return 'away';
  }
}

function show(state, text, progress = null) {
  byId('server').dataset.state = state;
  byId('server').title = text;
  byId('server-text').textContent = text;
  byId('server-progress').hidden = progress === null;
  byId('server-progress').value = progress ?? 0;
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && byId('server').dataset.state !== 'locked') wake();
});
