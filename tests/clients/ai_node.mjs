// The npm package ai (Vercel), by @ai-sdk/openai-compatible.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { URL, run } from "./steps.mjs";

const provider = createOpenAICompatible({
  name: "bise",
  baseURL: `${URL}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const { data } = await (await fetch(`${URL}/v1/models`)).json();
const model = provider(data[0].id);
const ask = { model, prompt: "Tell me of the fox.", maxOutputTokens: 30, seed: 5, maxRetries: 0 };

async function chats() {
  const answer = await generateText(ask);
  assert.ok(answer.text);
  assert.equal(answer.finishReason, "length");
  assert.equal(answer.usage.outputTokens, 30);
}

async function streams() {
  const { text } = await generateText(ask);
  const stream = streamText(ask);
  let streamed = "";
  for await (const piece of stream.textStream) streamed += piece;
  assert.equal(streamed, text);
  assert.equal((await stream.usage).outputTokens, 30);
}

async function callsTools() {
  const weather = tool({
    description: "Tells the weather.",
    inputSchema: z.object({ city: z.string().max(8) }),
    execute: async ({ city }) => `sunny in ${city}`,
  });
  const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" });
  const providerOptions = { bise: { parallel_tool_calls: false } };
  const more = { providerOptions, tools: { weather }, stopWhen: stepCountIs(2), prepareStep, maxOutputTokens: 300 };
  const answer = await generateText({ ...ask, ...more });
  assert.equal(answer.steps[0].finishReason, "tool-calls");
  assert.ok(answer.steps[0].toolResults[0].output.startsWith("sunny"));
  assert.ok(answer.text);
  const stream = streamText({ ...ask, ...more });
  await stream.consumeStream();
  assert.ok((await stream.steps)[0].toolResults.length > 0);
}

async function parses() {
  const schema = z.object({ age: z.number().int().min(0).max(20), red: z.boolean() });
  const answer = await generateObject({ ...ask, schema, maxOutputTokens: 300 });
  schema.parse(answer.object);
}

async function completesTexts() {
  const answer = await generateText({ ...ask, model: provider.completionModel(data[0].id) });
  assert.ok(answer.text);
}

async function embeds() {
  const { embeddings } = await embedMany({ model: provider.textEmbeddingModel(data[0].id), values: ["Once", "upon"] });
  assert.deepEqual(embeddings.map((vector) => vector.length), [256, 256]);
}

async function readsErrors() {
  await assert.rejects(generateText({ ...ask, topP: 2 }), (error) => error.statusCode === 400 && /top_p/.test(error.message));
}

async function goesAway() {
  const leave = new AbortController();
  const options = { bise: { ignore_eos: true } };
  const more = { maxOutputTokens: 500_000, providerOptions: options, abortSignal: leave.signal };
  const stream = streamText({ ...ask, ...more, onError: () => {} });
  let pieces = 0;
  for await (const _ of stream.fullStream) if (++pieces === 20) leave.abort();
  await chats();
}

await run({ chats, streams, callsTools, parses, completesTexts, embeds, readsErrors, goesAway });
