// Stands between the browser and the server, so that a test can slow an answer down, put another
// one in its place, and see what was asked.

import http from 'node:http';

/** Begins to stand before `upstream`, a URL. */
export async function standBetween(upstream) {
  const between = {
    /** Requests for answers, the last one at the end. */
    asked: [],
    /** Milliseconds before each event of an answer. */
    slow: 0,
    /** What comes in place of the next requests for these paths: [path, answer]. */
    instead: [],
  };
  const server = http.createServer(async (request, response) => {
    const body = [];
    for await (const part of request) body.push(part);
    const text = Buffer.concat(body).toString();
    if (request.url.endsWith('/chat/completions')) between.asked.push(JSON.parse(text));
    const at = between.instead.findIndex(([path]) => request.url.endsWith(path));
    if (at >= 0) {
      const [[, answer]] = between.instead.splice(at, 1);
      return answer(response, request);
    }
    return pass(upstream, request, text, response, between);
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  between.url = `http://127.0.0.1:${server.address().port}/`;
  between.close = () => {
    server.close();
    server.closeAllConnections();
  };
  return between;
}

/** Passes a request on, and its answer back, an event at a time. */
function pass(upstream, request, text, response, between) {
  const { method, headers, url } = request;
  const passed = http.request(new URL(url, upstream), { method, headers }, async (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    const isStream = answer.headers['content-type']?.startsWith('text/event-stream');
    let rest = '';
    try {
      for await (const part of answer) {
        if (!isStream) {
          response.write(part);
          continue;
        }
        const events = (rest + part).split('\n\n');
        rest = events.pop();
        for (const event of events) {
          if (between.slow > 0) await new Promise((resolve) => { setTimeout(resolve, between.slow); });
          response.write(`${event}\n\n`);
        }
      }
      response.end(rest);
    } catch {
      response.destroy();
    }
  });
  passed.on('error', () => response.destroy());
  response.on('close', () => passed.destroy());
  passed.end(text);
}

/** An error with this status, as the server forms them. */
export const error = (status, message, code = null) => (response) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: { message, type: 'server_error', param: null, code } }));
};

/** What `/health` says while the model is being loaded. */
export const loading = (progress) => (response) => {
  response.writeHead(503, { 'content-type': 'application/json', 'retry-after': '1' });
  response.end(JSON.stringify({ status: 'loading', progress }));
};

/** An answer of these deltas; without an end if it `breaks`. */
export const says = (deltas, { breaks = false, finish = 'stop' } = {}) => (response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (chunk) => response.write(`data: ${JSON.stringify(chunk)}\r\n\r\n`);
  response.write(': a comment is no event\n\n');
  for (const delta of deltas) send({ choices: [{ index: 0, delta, finish_reason: null }] });
  if (breaks) {
    setTimeout(() => response.destroy(), 50);
    return;
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: finish }] });
  const cached = { cached_tokens: 1 };
  const usage = { prompt_tokens: 3, completion_tokens: 7, prompt_tokens_details: cached };
  send({ choices: [], usage });
  response.end('data: [DONE]\n\n');
};
