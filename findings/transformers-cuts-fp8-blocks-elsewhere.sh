#!/usr/bin/env bash
# transformers 5.17.0. FP8 weights in blocks of 128 x 128 whose rows are no multiple of 128: the last block is short, and each scale
# belongs to 128 rows. When it dequantizes, transformers divides the rows by the number of scales instead: of 192 rows with two scales
# rows 96 to 127 get the second scale, silently. 320 rows, which three scales do not divide, are an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet "transformers==5.17.0" accelerate torch
"$work/env/bin/python" - "$work" 2>/dev/null <<'PYTHON'
import json, sys, transformers
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, MistralConfig, MistralForCausalLM

def rows_by_scale(rows):
    """The rows of a matrix of ones that each of its scales, 1, 2, .., is applied to."""
    config = MistralConfig(
        hidden_size=128, intermediate_size=rows, num_attention_heads=1, num_key_value_heads=1, num_hidden_layers=1, vocab_size=8,
    )
    weights = dict(MistralForCausalLM(config).state_dict())
    for name in [name for name in weights if "_proj" in name]:
        shape = weights[name].shape
        scales = torch.arange(1.0, -(-shape[0] // 128) + 1).reshape(-1, 1).repeat(1, -(-shape[1] // 128))
        weights[name] = torch.ones(shape).to(torch.float8_e4m3fn)
        weights[name + "_scale_inv"] = scales
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, f"{sys.argv[1]}/model.safetensors", {"format": "pt"})
    said = config.to_dict() | {
        "architectures": ["MistralForCausalLM"],
        "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    }
    json.dump(said, open(f"{sys.argv[1]}/config.json", "w"))
    how = FineGrainedFP8Config(weight_block_size=(128, 128), dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], quantization_config=how, dtype=torch.float32)
    values, counts = model.model.layers[0].mlp.gate_proj.weight[:, 0].unique(return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))

even, short = rows_by_scale(256), rows_by_scale(192)
print(transformers.__version__, "rows that each scale is applied to: of 256", even, "of 192", short)
assert even == {1.0: 128, 2.0: 128}
assert short == {1.0: 96, 2.0: 96}
try:
    print("of 320", rows_by_scale(320))
except Exception as error:
    print("of 320:", type(error).__name__, str(error)[:120])
else:
    raise SystemExit("320 rows are read")
PYTHON
