#!/usr/bin/env bash
# tokenizers 0.23.3. A token added as plain text is "normalized" by default: with a Prepend normalizer it is searched as the mark
# of a space and the token. It then takes the space before it with it, and is not found at all after a letter.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet tokenizers==0.23.3
"$work/env/bin/python" - <<'PYTHON'
from tokenizers import AddedToken, Tokenizer, models, normalizers

def tokens(added, text):
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "▁", "h", "i"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_tokens([added])
    return tokenizer.encode(text).tokens

for added, text, expected in [
    ("<a>", "hi <a>", ["▁", "h", "i", "▁<a>"]),
    ("<a>", "hi<a>", ["▁", "h", "i", "<unk>", "<unk>", "<unk>"]),
    (AddedToken("<a>", normalized=False), "hi <a>", ["▁", "h", "i", "▁", "<a>"]),
    (AddedToken("<a>", normalized=False), "hi<a>", ["▁", "h", "i", "<a>"]),
]:
    seen = tokens(added, text)
    print(added, repr(text), seen)
    assert seen == expected
PYTHON
