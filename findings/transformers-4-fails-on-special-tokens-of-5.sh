#!/usr/bin/env bash
# transformers 5.17.0 writes `extra_special_tokens` in tokenizer_config.json as a list; 4.57.6 reads it as a map, and fails with an
# AttributeError that does not name the file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 5.17.0 4.57.6; do
    python3 -m venv --clear "$work/env"
    "$work/env/bin/pip" install --quiet "transformers==$version" protobuf==7.36.2
    "$work/env/bin/python" - "$work" <<'PYTHON'
import json, sys, transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

folder = sys.argv[1] + "/saved"
if transformers.__version__ == "5.17.0":
    tokenizer = Tokenizer(models.BPE({"<unk>": 0, "a": 1}, [], unk_token="<unk>"))
    saved = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", extra_special_tokens=["<tool>"])
    saved.save_pretrained(folder)
    print("5.17.0 writes", json.load(open(folder + "/tokenizer_config.json"))["extra_special_tokens"])
else:
    try:
        PreTrainedTokenizerFast.from_pretrained(folder)
        seen = "it is read"
    except AttributeError as error:
        seen = str(error)
    print(transformers.__version__, seen)
    assert seen == "'list' object has no attribute 'keys'"
PYTHON
done
