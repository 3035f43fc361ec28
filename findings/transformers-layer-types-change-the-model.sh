#!/usr/bin/env bash
# transformers 4.57.6 and 5.17.0. A config.json of model_type "mistral" that has `layer_types` is read as another model, Ministral, by
# the Auto classes, whose layers differ in their windows. Loaded by its own class it stays a Mistral with one window.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 4.57.6 5.17.0; do
    python3 -m venv --clear "$work/env"
    "$work/env/bin/pip" install --quiet "transformers==$version"
    "$work/env/bin/python" - "$work" 2>/dev/null <<'PYTHON'
import json, sys, transformers
from transformers import AutoConfig, MistralConfig

config = {
    "model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_size": 32, "intermediate_size": 64,
    "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 2, "vocab_size": 100, "sliding_window": 8,
}
def kinds(**more):
    json.dump({**config, **more}, open(f"{sys.argv[1]}/config.json", "w"))
    return [type(c.from_pretrained(sys.argv[1])).__name__ for c in (AutoConfig, MistralConfig)]

plain, mixed = kinds(), kinds(layer_types=["full_attention", "sliding_attention"])
print(transformers.__version__, "without layer_types", plain, "with", mixed)
assert plain == ["MistralConfig", "MistralConfig"]
assert mixed == ["MinistralConfig", "MistralConfig"]
PYTHON
done
