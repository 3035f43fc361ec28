#!/usr/bin/env bash
# mistral-common 1.13.1. Filling a gap in a text needs the control tokens [PREFIX] and [SUFFIX]. A vocabulary of version v2 has neither,
# and is no error: both become the unknown token, so that the model does not see where the gap is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet "mistral-common[sentencepiece]==1.13.1"
"$work/env/bin/python" - 2>/dev/null <<'PYTHON'
from mistral_common.protocol.fim.request import FIMRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

for version, marks in [("v2", ["<unk>", "<unk>"]), ("v3", ["[SUFFIX]", "[PREFIX]"])]:
    tokenizer = getattr(MistralTokenizer, version)()
    ids = tokenizer.encode_fim(FIMRequest(prompt="ab", suffix="cd")).tokens
    pieces = [tokenizer.instruct_tokenizer.tokenizer.id_to_piece(id) for id in ids]
    print(version, pieces)
    assert [piece for piece in pieces if piece in marks] == marks
PYTHON
