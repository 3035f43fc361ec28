#!/usr/bin/env bash
# peft 0.21.2: of `alpha_pattern` and `rank_pattern` the first pattern that matches a module counts, and `save_pretrained` sorts
# them: a model that is loaded again has other scales than the one that was saved, and other outputs.
# PYTHON names an interpreter that has the packages already.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$work/env"
    PYTHON=$work/env/bin/python
    "$PYTHON" -m pip install --quiet peft==0.21.2 torch==2.15.0 transformers==5.17.0
fi
"$PYTHON" - 2>/dev/null <<'PYTHON'
import tempfile
import torch
from peft import LoraConfig, PeftModel, get_peft_model

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (torch.nn.Linear(4, 4, bias=False) for _ in range(2))

    def forward(self, x):
        return self.b(self.a(x))

def build():
    torch.manual_seed(0)
    return Net()

# For `a` 1, for all others 8.
config = LoraConfig(r=1, lora_alpha=1, target_modules=["a", "b"], alpha_pattern={"a": 1, ".*": 8}, init_lora_weights=False)
model, x = get_peft_model(build(), config), torch.ones(1, 4)
with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    loaded = PeftModel.from_pretrained(build(), folder)
    gap = float((model(x) - loaded(x)).abs().max())
saved, read = (m.base_model.model.a.scaling["default"] for m in (model, loaded))
print(f"the scale of `a` is {saved} when it is saved and {read} when it is loaded; outputs differ by {gap:.1f}")
assert (saved, read) == (1, 8) and gap > 1
PYTHON
