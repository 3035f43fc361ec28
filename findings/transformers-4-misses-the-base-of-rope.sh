#!/usr/bin/env bash
# transformers 4.57.6 reads a config.json that transformers 5 wrote, and passes over `rope_parameters` in silence: a base of
# 1000000 becomes 10000, and the model is another one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 5.17.0 4.57.6; do
    python3 -m venv --clear "$work/env"
    "$work/env/bin/pip" install --quiet "transformers==$version"
    "$work/env/bin/python" - "$work" 2>/dev/null <<'PYTHON'
import sys, transformers
from transformers import AutoConfig, MistralConfig

if transformers.__version__ == "5.17.0":
    MistralConfig(rope_parameters={"rope_type": "default", "rope_theta": 1e6}).save_pretrained(sys.argv[1])
    print("5.17.0 writes a base of 1000000")
else:
    theta = AutoConfig.from_pretrained(sys.argv[1]).rope_theta
    print(transformers.__version__, "reads a base of", theta)
    assert theta == 10000
PYTHON
done
