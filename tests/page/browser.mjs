// The server that is tested, the browser it is tested with, and what is done again and again.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { standBetween } from './between.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Starts the server on a free port. */
async function serve() {
  const program = spawn(process.env.BISE, ['serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  for await (const line of createInterface(program.stdout)) {
    const url = /http:\S+/.exec(line)?.[0];
    if (url) return { url, end: () => program.kill() };
  }
  throw new Error('the server did not say where it listens');
}

/** Starts all that a test needs. */
export async function start() {
  const server = process.env.BISE_URL
    ? { url: process.env.BISE_URL, end: () => {} } : await serve();
  const between = await standBetween(server.url);
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const end = async () => {
    await browser.close();
    between.close();
    server.end();
  };
  return { between, browser, end };
}

/** A browser of its own, which has been nowhere: `open()` opens the page in a tab. */
export async function visit({ browser, between }, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  context.setDefaultTimeout(10_000);
  const problems = [];
  const open = async (isReady = true) => {
    const tab = await context.newPage();
    tab.on('pageerror', (error) => problems.push(String(error)));
    tab.on('console', (message) => {
      // The browser itself reports each status that is an error.
      if (message.type() === 'error' && !/status of \d+|net::ERR/.test(message.text())) {
        problems.push(message.text());
      }
    });
    tab.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(between.url) && !/^(data|blob):/.test(url)) problems.push(`asked ${url}`);
    });
    await tab.goto(between.url);
    if (isReady) await tab.locator('#server[data-state=ready]').waitFor();
    return tab;
  };
  const leave = async () => {
    await context.close();
    between.slow = 0;
    between.instead = [];
    assert.deepEqual(problems, [], 'the page ran without errors, and asked nobody else');
  };
  return { context, open, leave };
}

/** The last answer, when it has come to an end. */
export async function answered(tab) {
  await tab.locator('#send').waitFor();
  const last = tab.locator('#messages > li').last();
  assert.equal(await last.getAttribute('aria-busy'), 'false');
  return last;
}

/** Says something, and returns what is answered. */
export async function say(tab, text) {
  await tab.locator('#prompt').fill(text);
  await tab.keyboard.press('Enter');
  // It is sent before the button shows anything else.
  return answered(tab);
}

/** The texts of all messages. */
export const texts = (tab) => tab.locator('#messages .bubble, #messages .body').allInnerTexts();

/** The titles in the list of conversations. */
export const titles = (tab) => tab.locator('#conversations a').allInnerTexts();

/** Sets what is set in the dialog; with a seed, so that each run of a test gets the same answers. */
export async function set(tab, fields) {
  await tab.getByRole('button', { name: 'Settings' }).click();
  for (const [label, text] of Object.entries({ Seed: 1, ...fields })) {
    await tab.locator('#settings').getByLabel(label).fill(String(text));
  }
  await tab.getByRole('button', { name: 'Save' }).click();
}
