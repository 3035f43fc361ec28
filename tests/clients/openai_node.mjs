// The npm package openai.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ENDLESS, URL, run } from "./steps.mjs";

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const model = (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Tell me of the fox." }];
const ask = { model, messages, max_tokens: 30, seed: 5 };
const chat = client.chat.completions;

const City = z.object({ city: z.string().max(8) });
const Fox = z.object({ name: z.string().max(8), age: z.number().int().min(0).max(20), red: z.boolean() });

async function chats() {
  const answer = await chat.create({ ...ask, n: 2 });
  assert.deepEqual(answer.choices.map((choice) => choice.finish_reason), ["length", "length"]);
  assert.equal(answer.usage.completion_tokens, 60);
  const again = await chat.create(ask);
  assert.deepEqual(again.choices[0].message, answer.choices[0].message);
}

async function streams() {
  const plain = (await chat.create(ask)).choices[0].message.content;
  let text = "";
  for await (const chunk of await chat.create({ ...ask, stream: true })) text += chunk.choices[0].delta.content ?? "";
  assert.equal(text, plain);
  const stream = chat.stream({ ...ask, stream_options: { include_usage: true } });
  assert.equal(await stream.finalContent(), plain);
  assert.equal((await stream.totalUsage()).completion_tokens, 30);
}

async function callsTools() {
  const tool = zodFunction({ name: "weather", parameters: City });
  const more = { tools: [tool], tool_choice: "required", parallel_tool_calls: false, max_tokens: 300 };
  const { message } = (await chat.create({ ...ask, ...more })).choices[0];
  const [call] = message.tool_calls;
  City.parse(JSON.parse(call.function.arguments));
  const final = await chat.stream({ ...ask, ...more }).finalMessage();
  assert.equal(final.tool_calls[0].function.arguments, call.function.arguments);
  const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
  const answer = await chat.create({ ...ask, messages: [...messages, message, result], tools: [tool] });
  assert.ok(answer.choices[0].message.content);
}

async function parses() {
  const format = zodResponseFormat(Fox, "fox");
  const answer = await chat.parse({ ...ask, max_tokens: 400, response_format: format });
  Fox.parse(answer.choices[0].message.parsed);
}

async function readsProbabilities() {
  const answer = await chat.create({ ...ask, temperature: 0, logprobs: true, top_logprobs: 3 });
  for (const token of answer.choices[0].logprobs.content) assert.equal(token.top_logprobs[0].token, token.token);
}

async function completesTexts() {
  const answer = await client.completions.create({ model, prompt: "Once upon", max_tokens: 8 });
  assert.equal(answer.choices[0].finish_reason, "length");
}

async function embeds() {
  // As base64, and as a list.
  for (const more of [{}, { encoding_format: "float" }]) {
    const answer = await client.embeddings.create({ model, input: ["Once", "upon"], ...more });
    assert.deepEqual(answer.data.map((item) => item.embedding.length), [256, 256]);
  }
}

async function readsErrors() {
  await assert.rejects(chat.create({ ...ask, model: "some/other" }), OpenAI.NotFoundError);
  await assert.rejects(client.models.retrieve("some/other"), /some\/other/);
  await assert.rejects(chat.create({ ...ask, top_p: 2 }), (error) => error.param === "top_p" && error.status === 400);
}

async function goesAway() {
  const stream = await chat.create({ ...ask, ...ENDLESS, stream: true });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 20) break;
  await chats();
}

await run({ chats, streams, callsTools, parses, readsProbabilities, completesTexts, embeds, readsErrors, goesAway });
