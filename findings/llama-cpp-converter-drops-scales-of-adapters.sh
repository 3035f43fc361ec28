#!/usr/bin/env bash
# llama.cpp's convert_lora_to_gguf.py (of llama-cpp-python 0.3.36) writes `lora_alpha` alone: of an adapter with use_rslora, whose scale is
# alpha / sqrt(rank), and of one with alpha_pattern, it makes a file with another scale, without a word.
# PYTHON names an interpreter that has the packages already, LLAMA_CPP a folder with llama.cpp's source.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$work/env"
    PYTHON=$work/env/bin/python
    "$PYTHON" -m pip install --quiet peft==0.21.2 torch==2.15.0 transformers==5.17.0 gguf==0.19.0 sentencepiece==0.2.3
fi
if [ -z "${LLAMA_CPP:-}" ]; then
    "$PYTHON" -m pip download --quiet --no-deps --no-binary :all: --dest "$work" llama-cpp-python==0.3.36
    tar -xzf "$work"/llama_cpp_python-0.3.36.tar.gz -C "$work"
    LLAMA_CPP=$work/llama_cpp_python-0.3.36/vendor/llama.cpp
fi
cat > "$work/make.py" <<'PYTHON'
import sys
from peft import LoraConfig, get_peft_model
from transformers import MistralConfig, MistralForCausalLM

base, adapter = sys.argv[1:]
shape = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, vocab_size=32)
model = MistralForCausalLM(MistralConfig(**shape))
model.save_pretrained(base)
config = LoraConfig(r=4, lora_alpha=8, use_rslora=True, alpha_pattern={"v_proj": 2}, target_modules=["q_proj", "v_proj"])
model = get_peft_model(model, config)
model.save_pretrained(adapter)
attention = model.base_model.model.model.layers[0].self_attn
scales = [module.scaling["default"] for module in (attention.q_proj, attention.v_proj)]
print("PEFT multiplies the update of q_proj by", scales[0], "and that of v_proj by", scales[1])
assert scales == [4, 1]
PYTHON
cat > "$work/read.py" <<'PYTHON'
import sys
import gguf

reader = gguf.GGUFReader(sys.argv[1])
alpha = float(reader.fields["adapter.lora.alpha"].parts[-1][0])
scales = {tensor.name: alpha / int(tensor.shape[0]) for tensor in reader.tensors if tensor.name.endswith("lora_b")}
print("the file has them multiplied by", sorted(scales.values()))
assert list(scales.values()) == [2, 2]
PYTHON
"$PYTHON" "$work/make.py" "$work/base" "$work/adapter" 2>/dev/null
(cd "$LLAMA_CPP" && PYTHONPATH=gguf-py "$PYTHON" convert_lora_to_gguf.py "$work/adapter" --base "$work/base" --outfile "$work/out.gguf") > "$work/log" 2>&1
if grep -i -E "rslora|alpha_pattern|warning" "$work/log"; then
    echo "the converter says so now"
    exit 1
fi
"$PYTHON" "$work/read.py" "$work/out.gguf"
