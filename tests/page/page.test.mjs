// The chat page in a browser, before the real server.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { error, loading, says } from './between.mjs';
import { answered, say, set, start, texts, titles, visit } from './browser.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let all;
before(async () => { all = await start(); });
after(() => all.end());

/** A test in a browser of its own. */
function page(name, options, body) {
  test(name, async () => {
    const visitor = await visit(all, options);
    await body(visitor, all.between);
    await visitor.leave();
  });
}

page('a dialogue', {}, async ({ open }, between) => {
  const tab = await open();
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'prompt');
  // The tiny model is faster than can be measured.
  between.slow = 5;
  await set(tab, { 'Most tokens': 20, Seed: 3, Temperature: '0,5', 'System prompt': 'Tell of a dog.' });
  const answer = await say(tab, 'Who lives by the river?');
  const said = await answer.locator('.body').innerText();
  assert.ok(said.length > 10, said);
  assert.match(await answer.locator('.stats').innerText(), /^20 tokens · [\d.,]+ tokens\/s · after /);
  assert.match(await answer.locator('.stats').innerText(), /prompt [\d,]+ tokens/);
  await tab.waitForFunction((text) => document.querySelector('#announcer').textContent
    .includes(text.slice(0, 20)), said);
  await say(tab, 'And then?');
  const request = between.asked.at(-1);
  assert.deepEqual(request.messages.map(({ role }) => role), ['system', 'user', 'assistant', 'user']);
  assert.equal(request.messages[0].content, 'Tell of a dog.');
  const { temperature, max_tokens: most, seed } = request;
  assert.deepEqual([temperature, most, seed], [0.5, 20, 3]);
  assert.deepEqual(await titles(tab), ['Who lives by the river?']);
  assert.equal(await tab.title(), 'Who lives by the river? · bise');
});

page('what is written stays when the page is loaded anew', {}, async ({ open }) => {
  const tab = await open();
  await set(tab, { 'Most tokens': 12 });
  await say(tab, 'Who lives in the mill?');
  const before = await texts(tab);
  assert.equal(before.length, 2);
  await tab.reload();
  await tab.locator('#messages > li').nth(1).waitFor();
  assert.deepEqual(await texts(tab), before);
  await tab.goto(all.between.url);
  await tab.locator('#conversations a').click();
  await tab.locator('#messages > li').nth(1).waitFor();
  assert.deepEqual(await texts(tab), before);
});

page('an answer is stopped', {}, async ({ open }, between) => {
  between.slow = 100;
  const tab = await open();
  await set(tab, { Seed: 42, Temperature: 0.6 });
  await tab.locator('#prompt').fill('Hello');
  await tab.keyboard.press('Enter');
  const answer = tab.locator('#messages > li').last();
  await tab.waitForFunction(() => document.querySelector('#messages .body')?.innerText.length > 5);
  assert.equal(await answer.getAttribute('aria-busy'), 'true');
  assert.equal(await tab.locator('#announcer').innerText(), '', 'tokens are not read out');
  await tab.keyboard.press('Escape');
  await answered(tab);
  assert.match(await answer.locator('.stats').innerText(), /^about \d+ tokens.* · stopped$/);
  const kept = await texts(tab);
  await tab.reload();
  await tab.locator('#messages > li').nth(1).waitFor();
  assert.deepEqual(await texts(tab), kept);

  // The same by the button, and a conversation that is left goes on.
  between.slow = 50;
  await tab.locator('#prompt').fill('Go on');
  await tab.keyboard.press('Enter');
  await tab.getByRole('button', { name: 'Stop' }).click();
  await answered(tab);
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'prompt');
});

page('an answer goes on while another conversation is shown', {}, async ({ open }, between) => {
  between.slow = 30;
  const tab = await open();
  await set(tab, { Seed: 42, Temperature: 0.6, 'Most tokens': 40 });
  await tab.locator('#prompt').fill('Hello');
  await tab.keyboard.press('Enter');
  await tab.locator('#conversations .running').waitFor();
  await tab.keyboard.press('Control+k');
  await tab.locator('#welcome').waitFor();
  await say(tab, 'Second');
  await tab.locator('#conversations .running').waitFor({ state: 'detached' });
  await tab.getByRole('link', { name: 'Hello' }).click();
  const first = await answered(tab);
  assert.match(await first.locator('.stats').innerText(), /^40 tokens/);
  assert.equal((await titles(tab)).length, 2);
  await tab.goBack();
  await tab.locator('.bubble', { hasText: 'Second' }).waitFor();
});

page('a message is edited, and an answer written again', {}, async ({ open }, between) => {
  const tab = await open();
  await set(tab, { 'Most tokens': 12, Seed: 5 });
  await say(tab, 'A dog');
  await say(tab, 'And a fox');
  const first = tab.locator('#messages > li').first();
  await first.getByRole('button', { name: 'Edit' }).click();
  await tab.keyboard.press('Escape');
  assert.equal((await texts(tab)).length, 4, 'nothing is changed');
  await first.getByRole('button', { name: 'Edit' }).click();
  await tab.getByLabel('Edit the message').fill('A cat');
  await tab.keyboard.press('Enter');
  await tab.locator('.bubble', { hasText: 'A cat' }).waitFor();
  const answer = await answered(tab);
  assert.equal((await texts(tab)).length, 2, 'what came after is replaced');
  assert.deepEqual(between.asked.at(-1).messages, [{ role: 'user', content: 'A cat' }]);

  const said = await answer.locator('.body').innerText();
  await answer.getByRole('button', { name: 'Answer again' }).click();
  await tab.waitForFunction(() => document.querySelectorAll('#messages > li').length === 2);
  const again = await answered(tab);
  assert.equal(await again.locator('.body').innerText(), said, 'one seed, one answer');
  assert.equal((await texts(tab)).length, 2);
});

page('two tabs do not write over each other', {}, async ({ open }, between) => {
  const one = await open();
  await set(one, { 'Most tokens': 8 });
  const two = await open();
  await say(one, 'In the first tab');
  await say(two, 'In the second tab');
  for (const tab of [one, two]) {
    await tab.bringToFront();
    await tab.waitForFunction(() => document.querySelectorAll('#conversations a').length === 2);
  }
  // Both answer in one conversation.
  await two.getByRole('link', { name: 'In the first tab' }).click();
  await two.locator('.bubble', { hasText: 'In the first tab' }).waitFor();
  between.slow = 60;
  await one.locator('#prompt').fill('From one');
  await two.locator('#prompt').fill('From two');
  await Promise.all([one.keyboard.press('Enter'), two.keyboard.press('Enter')]);
  await Promise.all([answered(one), answered(two)]);
  await one.waitForFunction(() => document.querySelectorAll('#conversations a').length === 3);
  const found = [...await titles(one)].sort();
  assert.deepEqual(found, ['In the first tab', 'In the first tab (copy)', 'In the second tab']);
  const shown = [(await texts(one)).at(-2), (await texts(two)).at(-2)];
  assert.deepEqual(shown, ['From one', 'From two']);

  // What one renames and deletes, the other sees.
  between.slow = 0;
  await one.bringToFront();
  await one.getByRole('link', { name: 'In the second tab' }).click();
  await one.getByRole('button', { name: 'Rename In the second tab' }).click();
  await one.getByLabel('Title').fill('A new name');
  await one.keyboard.press('Enter');
  await two.bringToFront();
  await two.getByRole('link', { name: 'A new name' }).click();
  await two.locator('#title', { hasText: 'A new name' }).waitFor();
  await one.bringToFront();
  await one.getByRole('button', { name: 'Delete A new name' }).click();
  await one.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await titles(one)).length, 3, 'no is no');
  await one.getByRole('button', { name: 'Delete A new name' }).click();
  await one.getByRole('button', { name: 'Delete', exact: true }).click();
  await two.locator('.notice', { hasText: 'deleted in another tab' }).waitFor();
  await two.locator('#welcome').waitFor();
});

page('settings that make no sense are refused where they stand', {}, async ({ open }, between) => {
  const tab = await open();
  await tab.getByRole('button', { name: 'Settings' }).click();
  const wrong = [
    ['Temperature', '-1'], ['Top P', '1.5'], ['Top K', '2.5'], ['Min P', 'much'],
    ['Most tokens', '0'], ['Seed', '9007199254740993'],
  ];
  for (const [label, text] of wrong) await tab.getByLabel(label, { exact: true }).fill(text);
  await tab.getByLabel('Stop texts').fill(Array(17).fill('x').join('\n'));
  await tab.getByRole('button', { name: 'Save' }).click();
  assert.equal(await tab.locator('#settings .wrong:visible').count(), 7);
  assert.match(await tab.locator('#set-top_p-error').innerText(), /1\.5; expected .* from 0 to 1/);
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'set-temperature');
  await tab.getByRole('button', { name: 'Reset' }).click();
  assert.equal(await tab.locator('#settings .wrong:visible').count(), 0);
  await tab.getByLabel('Top K').fill('40');
  await tab.getByLabel('Stop texts').fill('.\\n\nThe end');
  await tab.getByLabel('JSON mode').check();
  await tab.getByRole('button', { name: 'Save' }).click();
  between.instead = [['/chat/completions', says([{ content: '{"a": 1}' }])]];
  const answer = await say(tab, 'One');
  const { top_k: k, stop, response_format: format } = between.asked.at(-1);
  assert.deepEqual([k, stop, format], [40, ['.\n', 'The end'], { type: 'json_object' }]);
  assert.equal(await answer.locator('.code pre').innerText(), '{"a": 1}\n');
});

page('thoughts are folded', {}, async ({ open }, between) => {
  const tab = await open();
  const deltas = [{ reasoning_content: 'Let me ' }, { reasoning_content: 'see.' }, { content: 'Yes.' }];
  between.instead = [['/chat/completions', says(deltas, { finish: 'length' })]];
  const answer = await say(tab, 'Is it so?');
  assert.equal(await answer.locator('.thought-text').isVisible(), false);
  await answer.locator('summary').click();
  assert.equal(await answer.locator('.thought-text').innerText(), 'Let me see.');
  assert.equal(await answer.locator('.body').innerText(), 'Yes.');
  const stats = await answer.locator('.stats').innerText();
  assert.match(stats, /^7 tokens .*prompt 3 tokens, 1 of them known · cut at its most tokens$/);
});

page('what goes wrong is told, and tried again', {}, async ({ open }, between) => {
  const tab = await open();
  await set(tab, { 'Most tokens': 8 });
  between.instead = [
    ['/chat/completions', error(429, '256 requests are waiting; try again later', 'queue_full')],
    ['/chat/completions', says([{ content: 'A begin' }], { breaks: true })],
    ['/chat/completions', (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('data: {"error": {"message": "the engine has failed", "code": null}}\n\n');
    }],
    ['/chat/completions', (response) => {
      response.writeHead(502, { 'content-type': 'text/html' });
      response.end('<h1>Bad gateway</h1>');
    }],
  ];
  await say(tab, 'A dog');
  const again = async (expected) => {
    const last = await answered(tab);
    await last.locator('.trouble', { hasText: expected }).waitFor();
    await last.getByRole('button', { name: 'Try again' }).click();
  };
  await again('256 requests are waiting');
  await again('connection broke');
  await again('the engine has failed');
  await again('status 502');
  const last = await answered(tab);
  assert.equal(await last.locator('.trouble').isVisible(), false);
  assert.equal((await texts(tab)).length, 2);
});

page('a model that is being loaded is waited for', {}, async ({ open }, between) => {
  between.instead = [['/health', loading(0.43)], ['/health', loading(0.86)]];
  const tab = await open(false);
  await tab.locator('#server', { hasText: 'Loading 43 %' }).waitFor();
  assert.equal(await tab.locator('#server-progress').evaluate((bar) => bar.value), 0.43);
  await set(tab, { 'Most tokens': 8 });
  const why = 'the model is being loaded: 43 %';
  between.instead.push(['/chat/completions', error(503, why, 'loading_model')]);
  const answer = await say(tab, 'A dog');
  assert.match(await answer.locator('.stats').innerText(), /^\d+ tokens/);
  await tab.locator('#server[data-state=ready]').waitFor();
});

page('a key is asked for when the server wants one', {}, async ({ open, context }, between) => {
  const wantsKey = (response, request) => {
    const isRight = request.headers.authorization === 'Bearer right';
    if (!isRight) return error(401, 'a key is needed', 'invalid_api_key')(response);
    response.setHeader('content-type', 'application/json');
    return response.end('{"data": [{"id": "kept"}]}');
  };
  between.instead = Array(3).fill(['/v1/models', wantsKey]);
  const tab = await open(false);
  const field = tab.getByLabel('API key');
  await field.fill('wröng');
  await tab.keyboard.press('Enter');
  await tab.locator('#question-text', { hasText: 'not accepted' }).waitFor();
  await field.fill('wrong');
  await tab.keyboard.press('Enter');
  await tab.locator('#question-text', { hasText: 'not accepted' }).waitFor();
  await field.fill('right');
  await tab.keyboard.press('Enter');
  await tab.locator('#server', { hasText: 'kept' }).waitFor();
  assert.equal(await tab.evaluate(() => sessionStorage.getItem('bise.key')), 'right');
  assert.equal(await tab.evaluate(() => JSON.stringify(localStorage)), '{}');
  await tab.getByRole('button', { name: 'Settings' }).click();
  await tab.getByRole('button', { name: 'Forget it' }).click();
  assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
  await context.close();
});

const HOSTILE = [
  '<script>window.harmed = 1</script>',
  '<img src=x onerror="window.harmed = 2">',
  '<svg onload="window.harmed = 3"><a xlink:href="javascript:window.harmed=3"><text>x</text></a></svg>',
  '<iframe srcdoc="<script>parent.harmed = 4</script>"></iframe>',
  '<a href="javascript:window.harmed = 5">click</a>',
  '<details open ontoggle="window.harmed = 6">x</details>',
  '<style>body { display: none }</style><link rel=stylesheet href=//example.com/x.css>',
  '<form action=//example.com><button>send</button></form><input autofocus onfocus=window.harmed=7>',
  '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=harmed=8&gt;">',
  '<base href="//example.com/"><meta http-equiv=refresh content="0;url=//example.com">',
  '<div id=messages class=notice style="position:fixed;inset:0">over all</div>',
  '<noscript><p title="</noscript><img src=x onerror=harmed=9>">',
  '[a](javascript:window.harmed=10) [b](JaVaScRiPt:harmed=10) [c](\u0001javascript:harmed=10)',
  '[d](data:text/html,<script>parent.harmed=11</script>) [e](vbscript:x) [f](file:///etc/passwd)',
  '[g](/v1/models) [h](//example.com/) [i](#prompt) <javascript:harmed=12> [j](blob:x)',
  '![picture](https://example.com/x.png) ![](https://example.com/y.png "t") ![x](javascript:a)',
  '[k]: javascript:harmed=13\n\n[k] [l](https://example.com/"onmouseover="harmed=14)',
  '```html" onclick="harmed=15\n<script>harmed = 15</script>\n```',
  '| a | b |\n|---|:-:|\n| <script>harmed=16</script> | <b onclick=harmed=17>x</b><br>y |',
  '# <script>harmed=18</script>\n\n- [x] <img src=x onerror=harmed=19>\n\n&lt;script&gt;',
  '`<script>harmed=20</script>` <https://example.com/?a=1&b=2> https://example.com/z',
  `${'>'.repeat(5000)} deep`, `${'['.repeat(5000)}x`, `${'*a '.repeat(3000)}`,
];

/** What stands in elements with Markdown that must not be there; runs in the browser. */
function harms(root) {
  const allowed = new Set(['A', 'BLOCKQUOTE', 'BR', 'BUTTON', 'CODE', 'DEL', 'DIV', 'EM', 'FIGCAPTION',
    'FIGURE', 'H3', 'H4', 'H5', 'H6', 'HR', 'LI', 'OL', 'P', 'PRE', 'SPAN', 'STRONG', 'TABLE', 'TBODY',
    'TD', 'TH', 'THEAD', 'TR', 'UL', 'svg', 'use']);
  const found = [];
  for (const element of root.querySelectorAll('*')) {
    if (!allowed.has(element.tagName)) found.push(element.tagName);
    for (const { name, value } of element.attributes) {
      if (/^on|^style$|^src|^id$|xlink/.test(name)) found.push(`${element.tagName} ${name}`);
      if (name === 'href' && element.tagName === 'A' && !/^(https?:\/\/|mailto:)/.test(value)) {
        found.push(`href ${value}`);
      }
    }
    if (element.tagName === 'A' && element.hasAttribute('href')
      && (element.target !== '_blank' || element.rel !== 'noopener noreferrer')) {
      found.push(`a link of this page: ${element.outerHTML}`);
    }
  }
  return found;
}

page('hostile Markdown does no harm', {}, async ({ open, context }, between) => {
  const tab = await open();
  await tab.evaluate(`window.look = ${harms}`);
  const found = await tab.evaluate(async (all) => {
    const { Markdown } = await import('/page/markdown.js');
    const found = [];
    for (const text of [...all, all.join('\n\n')]) {
      // Whole, and letter by letter as it comes.
      for (const steps of [1, text.length > 5000 ? 4 : 40]) {
        const root = document.createElement('div');
        document.body.append(root);
        const markdown = new Markdown(root);
        for (let i = 1; i <= steps; i += 1) {
          markdown.show(text.slice(0, Math.ceil((text.length * i) / steps)), i === steps);
          found.push(...look(root).map((harm) => `${harm} in ${text.slice(0, 80)}`));
        }
        root.querySelectorAll('a:not([href])').forEach((link) => link.click());
        root.remove();
      }
    }
    return found;
  }, HOSTILE);
  assert.deepEqual(found, []);

  const deltas = HOSTILE.slice(0, -3).map((content) => ({ content: `${content}\n\n` }));
  between.instead = [['/chat/completions', says(deltas)]];
  const answer = await say(tab, HOSTILE[1]);
  assert.deepEqual(await answer.locator('.body').evaluate(harms), []);
  const shown = await answer.locator('.body').innerText();
  assert.ok(shown.includes('<script>window.harmed = 1</script>'), 'it is shown as it is written');
  const picture = answer.getByRole('link', { name: 'picture' }).first();
  assert.equal(await picture.getAttribute('href'), 'https://example.com/x.png');
  assert.equal(await tab.locator('.bubble').innerText(), HOSTILE[1]);
  await tab.waitForTimeout(200);
  assert.equal(await tab.evaluate(() => window.harmed), undefined);
  assert.equal(tab.url().startsWith(between.url), true);
  assert.equal(context.pages().length, 1);
});

page('Markdown is shown as it is meant', {}, async ({ open }, between) => {
  const tab = await open();
  const content = '## Head\n\n1. one\n2. **two**\n\n| a | b |\n|---|--:|\n| 1 | 2<br>3 |\n\n'
    + '- [x] done\n\n> quoted\n\n```rust\nlet v: Vec<u8>;\n```\n\nA [link][1] &amp; Vec<u8>\n\n'
    + '[1]: https://example.com';
  const letters = Array.from(content, (letter) => ({ content: letter }));
  between.instead = [['/chat/completions', says(letters)]];
  const body = (await say(tab, 'Show it')).locator('.body');
  assert.equal(await body.locator('h4').innerText(), 'Head');
  assert.equal(await body.locator('ol > li > strong').innerText(), 'two');
  assert.equal(await body.locator('td').nth(1).getAttribute('align'), 'right');
  assert.equal(await body.locator('td').nth(1).innerText(), '2\n3');
  assert.match(await body.locator('ul > li').innerText(), /^☑ *done$/);
  assert.equal(await body.locator('pre').innerText(), 'let v: Vec<u8>;\n');
  assert.equal(await body.locator('.code-head span').innerText(), 'rust');
  assert.equal(await body.locator('p').last().innerText(), 'A link & Vec<u8>');
  assert.equal(await body.getByRole('link').getAttribute('href'), 'https://example.com');
});

page('copying', { permissions: ['clipboard-read', 'clipboard-write'] }, async ({ open }, between) => {
  const tab = await open();
  const content = '**a**\n\n```\ncode\n```';
  between.instead = [['/chat/completions', says([{ content }])]];
  const answer = await say(tab, 'Hello');
  const clipboard = () => tab.evaluate(() => navigator.clipboard.readText());
  await answer.getByRole('button', { name: 'Copy', exact: true }).click();
  assert.equal(await clipboard(), content);
  await answer.getByRole('button', { name: 'Copy the code' }).click();
  assert.equal(await clipboard(), 'code\n');
});

page('export and import', {}, async ({ open }) => {
  const tab = await open();
  await set(tab, { 'Most tokens': 8, 'System prompt': 'Be brief.' });
  await say(tab, 'A dog / a fox');
  const said = await texts(tab);
  const saved = tab.waitForEvent('download');
  await tab.getByRole('button', { name: 'Export this conversation' }).click();
  const file = await saved;
  assert.equal(file.suggestedFilename(), 'A-dog-a-fox.json');
  const text = readFileSync(await file.path(), 'utf8');
  const give = async (content) => {
    const buffer = Buffer.from(content);
    await tab.locator('.notice button').evaluateAll((buttons) => buttons.forEach((b) => b.click()));
    await tab.locator('#import-file').setInputFiles({ name: 'x.json', mimeType: '', buffer });
    return tab.locator('.notice').innerText();
  };
  const change = (how) => {
    const value = JSON.parse(text);
    how(value, value.conversations[0]);
    return JSON.stringify(value);
  };
  const bad = [
    ['no JSON', /no JSON/],
    ['[1, 2]', /format is missing/],
    ['null', /format is missing/],
    [change((all) => { all.version = 2; }), /version is 2/],
    [change((all) => { all.conversations = {}; }), /not a list/],
    [change((_, one) => { one.messages[1].role = 'robot'; }), /conversations\[0\].messages\[1\].role is "robot"/],
    [change((_, one) => { one.messages[0].content = 7; }), /content is 7; expected a text/],
    [change((_, one) => { one.settings.top_p = 3; }), /settings.top_p is 3; expected .* from 0 to 1/],
    [change((_, one) => { delete one.title; }), /title is missing/],
    [change((_, one) => { one.updated = 'now'; }), /updated is "now"/],
    [change((_, one) => { one.id = '../x'; }), /id is "..\/x"/],
  ];
  for (const [content, expected] of bad) assert.match(await give(content), expected);
  assert.equal((await titles(tab)).length, 1, 'nothing of a bad file is taken');

  assert.match(await give(text), /0 conversations were imported. 1 of the 1 .* there already/);
  await tab.getByRole('button', { name: 'Delete A dog / a fox' }).click();
  await tab.getByRole('button', { name: 'Delete', exact: true }).click();
  await tab.locator('#no-conversations').waitFor();
  assert.match(await give(text), /1 conversation was imported/);
  await tab.locator('#conversations a').click();
  await tab.locator('#messages > li').nth(1).waitFor();
  assert.deepEqual(await texts(tab), said);
  await tab.getByRole('button', { name: 'Settings' }).click();
  assert.equal(await tab.getByLabel('System prompt').inputValue(), 'Be brief.');
});

page('a browser that is full, and one that keeps nothing', {}, async ({ open, context }) => {
  const tab = await open();
  await set(tab, { 'Most tokens': 8 });
  await tab.evaluate(() => {
    IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); };
  });
  await say(tab, 'A dog');
  await tab.locator('.notice', { hasText: 'no more room' }).waitFor();
  assert.equal((await texts(tab)).length, 2);
  await context.addInitScript(() => {
    Object.defineProperty(window, 'indexedDB', { get() { throw new Error('no'); } });
    Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } });
  });
  const other = await open();
  await other.locator('.notice', { hasText: 'keeps no conversations' }).waitFor();
  await set(other, { 'Most tokens': 8 });
  await say(other, 'A fox');
  assert.deepEqual(await titles(other), ['A fox']);
});

page('keys alone', {}, async ({ open }, between) => {
  const tab = await open();
  between.instead = [['/chat/completions', says([{ content: 'Yes.' }])]];
  await tab.locator('#prompt').focus();
  await tab.keyboard.type('one');
  await tab.keyboard.press('Shift+Enter');
  await tab.keyboard.type('two');
  await tab.keyboard.press('Enter');
  await answered(tab);
  assert.equal((await texts(tab))[0], 'one\ntwo');
  const names = [];
  await tab.evaluate(() => { document.activeElement.blur(); });
  for (let i = 0; i < 18; i += 1) {
    await tab.keyboard.press('Tab');
    names.push(await tab.evaluate(() => {
      const { activeElement: at } = document;
      const outline = getComputedStyle(at.id === 'prompt' ? at.form : at).outlineStyle;
      const name = at.ariaLabel ?? at.labels?.[0]?.innerText ?? at.innerText.trim();
      return outline === 'none' ? `${name} (not seen)` : name.split('\n')[0];
    }));
  }
  const start = names.indexOf('Skip to the message');
  assert.deepEqual([...names.slice(start), ...names.slice(0, start)].slice(0, 15), [
    'Skip to the message', 'New conversation', 'one two', 'Rename one two', 'Delete one two',
    'Export all', 'Import', 'Export this conversation', 'Settings', 'Dark', 'Copy', 'Edit', 'Copy',
    'Answer again', 'Message',
  ]);
  await tab.keyboard.press('Control+k');
  await tab.locator('#welcome').waitFor();
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'prompt');
  await tab.locator('#settings-open').focus();
  await tab.keyboard.press('Enter');
  await tab.keyboard.press('Escape');
  assert.equal(await tab.evaluate(() => document.activeElement.id), 'settings-open');
});

const background = (tab) => tab.evaluate(() => getComputedStyle(document.body).backgroundColor);

page('dark where the system is', { colorScheme: 'dark', reducedMotion: 'reduce' }, async ({ open }) => {
  const tab = await open();
  const dark = await background(tab);
  assert.equal(dark, 'rgb(21, 25, 28)');
  const button = tab.getByRole('button', { name: 'Dark' });
  assert.equal(await button.getAttribute('aria-pressed'), 'true');
  await button.click();
  assert.equal(await background(tab), 'rgb(255, 255, 255)');
  await tab.reload();
  assert.equal(await background(tab), 'rgb(255, 255, 255)', 'the choice stays');
  await button.click();
  assert.equal(await background(tab), dark);
  const moves = await tab.evaluate(() => getComputedStyle(document.querySelector('button')).transition);
  assert.match(moves, /none/);
});

const WIDE = `${'long'.repeat(60)}\n\n| ${'head | '.repeat(20)}\n|${'---|'.repeat(20)}\n\n`
  + `\`\`\`\n${'code '.repeat(60)}\n\`\`\`\n\n${'> '.repeat(6)}${'1. '.repeat(6)}x\n\n`
  + `https://example.com/${'path/'.repeat(40)}`;

for (const width of [360, 320]) {
  page(`${width} pixels wide`, { viewport: { width, height: 640 } }, async ({ open }, between) => {
    const tab = await open();
    between.instead = [['/chat/completions', says([{ content: WIDE }])]];
    await say(tab, 'wide'.repeat(80));
    const sizes = () => tab.evaluate(() => [document.documentElement, document.body,
      document.querySelector('#scroll'), ...document.querySelectorAll('dialog[open]')]
      .map((element) => element.scrollWidth - element.clientWidth));
    assert.deepEqual(await sizes(), [0, 0, 0]);
    await tab.getByRole('button', { name: 'Conversations' }).click();
    assert.equal(await tab.evaluate(() => document.activeElement.id), 'new');
    assert.deepEqual(await sizes(), [0, 0, 0]);
    await tab.keyboard.press('Escape');
    assert.equal(await tab.evaluate(() => document.activeElement.id), 'menu');
    await tab.getByRole('button', { name: 'Settings' }).click();
    assert.deepEqual(await sizes(), [0, 0, 0, 0]);
    await tab.keyboard.press('Escape');
    await tab.locator('.user').getByRole('button', { name: 'Edit' }).click();
    assert.deepEqual(await sizes(), [0, 0, 0]);
    await tab.keyboard.press('Escape');
    const button = await tab.locator('#send').boundingBox();
    assert.ok(button.x + button.width <= width && button.y + button.height <= 640);
  });
}

for (const colorScheme of ['light', 'dark']) {
  page(`what axe finds where it is ${colorScheme}`, { colorScheme }, async ({ open }, between) => {
    const tab = await open();
    const look = async (what) => {
      await tab.waitForTimeout(200);
      await tab.evaluate(AXE);
      const { violations } = await tab.evaluate(() => axe.run(document));
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
      assert.deepEqual(found, [], what);
    };
    await look('the empty page');
    const deltas = [{ reasoning_content: 'Well.' }, { content: `${HOSTILE[18]}\n\n${WIDE}\n\n> q\n\n\`c\`` }];
    between.instead = [['/chat/completions', says(deltas)], ['/chat/completions', error(429, 'Full')]];
    await say(tab, 'A dog');
    await say(tab, 'A fox');
    await look('a dialogue');
    await tab.getByRole('button', { name: 'Settings' }).click();
    await tab.getByLabel('Top P').fill('3');
    await tab.getByRole('button', { name: 'Save' }).click();
    await look('the settings');
    await tab.keyboard.press('Escape');
    await tab.getByRole('button', { name: 'Delete A dog' }).click();
    await look('a question');
    await tab.keyboard.press('Escape');
    await tab.setViewportSize({ width: 360, height: 640 });
    await tab.getByRole('button', { name: 'Conversations' }).click();
    await look('the list over a narrow page');
  });
}

if (process.env.PICTURE) {
  const viewport = { width: 1100, height: 560 };
  page('a picture for the documentation', { viewport }, async ({ open }) => {
    const tab = await open();
    await set(tab, { Seed: 15, Temperature: 0.6 });
    for (const begin of ['A fox lived by the river.', 'Max and Ivy found a small boat.']) {
      await say(tab, begin);
      await tab.keyboard.press('Control+k');
      await tab.locator('#welcome').waitFor();
    }
    await say(tab, 'One day, Ivy went to the forest with her dog.');
    await tab.mouse.move(600, 20);
    await tab.evaluate(() => document.activeElement.blur());
    await tab.waitForTimeout(300);
    await tab.screenshot({ path: process.env.PICTURE });
  });
}
