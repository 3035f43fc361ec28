"""Makes `texts.json` of the texts beside it: prompts and answers as tokens of Mistral's first tokenizer.

    pip install mistral-common && python benches/replay/texts.py

Each text is a prompt, a line of five dashes, and an answer as a model may well give it. `bise bench --replay` makes a model go
through the answers, whatever it thinks of them.
"""

import json
from pathlib import Path

from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

HERE = Path(__file__).parent


def main() -> None:
    tokenizer = MistralTokenizer.v1().instruct_tokenizer.tokenizer
    texts = []
    for name in ["edit", "summary", "story", "answer"]:
        prompt, answer = (HERE / f"{name}.txt").read_text(encoding="utf-8").split("\n-----\n")
        prompt = tokenizer.encode(f"[INST] {prompt} [/INST]", bos=True, eos=False)
        texts.append({"name": name, "prompt": prompt, "answer": tokenizer.encode(answer.rstrip("\n"), bos=False, eos=True)})
        print(f"{name}: {len(prompt)} tokens, then {len(texts[-1]['answer'])}")
    lines = ",\n".join(json.dumps(text) for text in texts)
    (HERE / "texts.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
