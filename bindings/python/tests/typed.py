"""Uses everything, for a type checker; it is not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bise
import numpy as np
from numpy.typing import NDArray

model: bise.Model = bise.Model.open(
    Path("a.gguf"), ctx=4096, threads=2, kv="q8_0", lora=[("b", 0.5), Path("c")], kv_memory="4GiB"
)
text: bise.Text = model.generate("x", max_tokens=5, temperature=0.5, stop=["."], schema={"type": "object"})
as_str: str = text
ids: list[int] = text.tokens + model.tokenize("x", special=False)
words: str = model.detokenize(ids) + text.text + text.stop_reason
stream: bise.Stream = model.stream([{"role": "user", "content": "x"}], seed=1)
pieces: list[bise.Piece] = list(stream)
result: bise.Text | None = stream.result
chat: bise.Chat = model.chat("x", tools=[{"type": "function"}], reasoning_effort="high")
answer: bise.Text = chat.send("x", top_k=5)
chat.result(answer.tool_calls[0], "sunny")
for row in model.batch(["x", {"prompt": "y", "id": 1}, [{"role": "user", "content": "z"}]], ordered=False):
    line: dict[str, Any] = row.to_dict()
    error: Exception | None = row.error
logits: NDArray[np.float32] = model.logits([1, 2, 3])
vectors: NDArray[np.float32] = model.embed(["x", "y"])
report: dict[str, Any] = bise.quantize("a", Path("b"), "Q4_K_M", tensor_types={"attn": "Q8_0"})
code: int = bise.main(["--version"])
with bise.Model.open() as other:
    likely: list[bise.Token] | None = other.generate("x", logprobs=2).logprobs
options: bise.Asked = {"top_p": 0.5, "regex": "[a-z]+"}
text = model.generate("x", **options)
