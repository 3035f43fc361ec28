// What all clients' scripts do: `run` runs the steps of a script, in order.

import { basename } from "node:path";

export const URL = (process.argv[2] ?? "").replace(/\/$/, "");

// An answer that takes minutes: who goes away must be noticed, as the server writes one at a time.
export const ENDLESS = { ignore_eos: true, max_tokens: 500_000 };

export async function run(steps) {
  const script = basename(process.argv[1]);
  for (const [name, step] of Object.entries(steps)) {
    const start = performance.now();
    await step();
    console.log(`${script}: ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  }
}
