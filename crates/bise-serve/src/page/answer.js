// An answer, from when it is asked for to when it ends.

import { isOpen, request } from './conversation.js';
import { chat } from './server.js';

/** How long an answer may take to begin again when the model is still loading, in milliseconds. */
const LOADING_PAUSE = 1000;

/**
 * Asks for the last message of a conversation and writes what comes into it; `changed()` is called
 * each time. It never throws: the message's state says how it ended. While the model is loaded,
 * `loading(progress)` is called and the question asked again.
 */
export async function write(conversation, message, model, signal, { changed, loading }) {
  const watch = new Watch(message);
  changed();
  try {
    for (;;) {
      try {
        for await (const chunk of chat(request(conversation, model()), signal)) {
          watch.take(chunk);
          changed();
        }
        message.state = 'done';
        break;
      } catch (trouble) {
        if (!trouble.isLoading || !isOpen(message)) throw trouble;
        loading(trouble.progress);
        await pause(LOADING_PAUSE, signal);
      }
    }
  } catch (trouble) {
    const isStopped = trouble.name === 'AbortError';
    message.state = isStopped ? 'stopped' : 'failed';
    message.error = isStopped ? null : trouble.message;
  }
  watch.end();
  changed();
}

/** Waits, unless `signal` says otherwise. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** Writes chunks into a message, and what they tell about time and number. */
class Watch {
  #message;
  #asked = performance.now();
  #first = null;

  constructor(message) {
    this.#message = message;
    message.stats = { pieces: 0, wait: 0, seconds: 0 };
  }

  take({ choices, usage }) {
    const { stats } = this.#message;
    const { delta, finish_reason: finish } = choices?.[0] ?? {};
    const now = performance.now();
    if (delta?.content || delta?.reasoning_content) {
      this.#first ??= now;
      this.#message.state = 'writing';
      this.#message.thought += delta.reasoning_content ?? '';
      this.#message.content += delta.content ?? '';
      stats.pieces += 1;
      stats.wait = (this.#first - this.#asked) / 1000;
      stats.seconds = (now - this.#first) / 1000;
      if (delta.reasoning_content) stats.thinking = stats.seconds;
    }
    if (finish) this.#message.finish = finish;
    if (usage) {
      stats.prompt = usage.prompt_tokens;
      stats.cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
      stats.tokens = usage.completion_tokens;
    }
  }

  /** Nothing more comes. */
  end() {
    if (this.#first === null) this.#message.stats = null;
  }
}

/** Tokens of an answer for each second; null when there are too few to tell. */
export function speed({ tokens, pieces, seconds }) {
  const after = (tokens ?? pieces) - 1;
  return after >= 1 && seconds > 0.01 ? after / seconds : null;
}
