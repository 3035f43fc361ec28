#!/usr/bin/env bash
# Runs all fuzz targets for SECONDS each, one after the other, from the files of fixtures/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(gguf split safetensors config params sentencepiece)
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    cp fixtures/hostile/"$target"/* "fuzz/corpus/$target"
    case $target in
        gguf) cp fixtures/gguf/*.gguf "fuzz/corpus/$target" ;;
        safetensors) cp fixtures/random/mistral-window-7/model.safetensors "fuzz/corpus/$target" ;;
        config) cp fixtures/random/mistral-window-7/config.json "fuzz/corpus/$target" ;;
        sentencepiece) cp fixtures/tiny-mistral/tokenizer.model "fuzz/corpus/$target" ;;
    esac
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=131072 -timeout=10 -print_final_stats=1
done
