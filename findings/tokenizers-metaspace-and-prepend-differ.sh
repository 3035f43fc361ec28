#!/usr/bin/env bash
# tokenizers 0.23.3. A Metaspace pre-tokenizer (prepend_scheme first or always) puts no mark before a text that begins with a
# space, the normalizer Prepend does. Both are found in tokenizer.json files of the same model family, so that " hi" has other
# tokens in one file than in the other, while "hi" has the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet tokenizers==0.23.3
"$work/env/bin/python" - <<'PYTHON'
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

def tokens(text, **parts):
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "▁", "h", "i"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer.encode(text).tokens

prepend = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
for text, with_prepend, with_metaspace in [
    ("hi", ["▁", "h", "i"], ["▁", "h", "i"]),
    (" hi", ["▁", "▁", "h", "i"], ["▁", "h", "i"]),
]:
    seen = tokens(text, normalizer=prepend)
    print("Prepend", repr(text), seen)
    assert seen == with_prepend
    for scheme in ("first", "always"):
        seen = tokens(text, pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme=scheme))
        print("Metaspace", scheme, repr(text), seen)
        assert seen == with_metaspace
PYTHON
