#!/usr/bin/env bash
# tokenizers 0.23.3. A Metaspace pre-tokenizer as older releases wrote it, with `add_prefix_space` and no `prepend_scheme`, is read
# when add_prefix_space is true, and refused when it is false: the scheme that is then assumed is "always".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet tokenizers==0.23.3
"$work/env/bin/python" - <<'PYTHON'
import json
from tokenizers import Tokenizer

def reads(add_prefix_space):
    metaspace = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": add_prefix_space}
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    try:
        Tokenizer.from_str(json.dumps({"version": "1.0", "pre_tokenizer": metaspace, "model": model}))
        return "read"
    except Exception as error:
        return f"refused: {error}"

for value in (True, False):
    print(f"add_prefix_space {value}:", reads(value))
assert reads(True) == "read"
assert reads(False).startswith("refused") and "prepend_scheme" in reads(False)
PYTHON
