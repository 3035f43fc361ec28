#!/usr/bin/env bash
# Builds the fuzz targets and runs each for SECONDS, one after the other, from the files of fixtures/.
#
#     fuzz/run.sh SECONDS [TARGET...]
#
# SEED=1 tries the same inputs in every run, as far as time allows.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ $# -gt 0 ] || targets=($(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"/\1/p' fuzz/Cargo.toml))

# What cargo-fuzz passes for --sanitizer none. All of it is stable, so that cargo alone will do; with --target, build scripts
# and macros are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$flags cargo build --release --locked --target "$host" --manifest-path fuzz/Cargo.toml

for target in "${targets[@]}"; do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus" "fuzz/artifacts/$target"
    [ ! -d "fixtures/hostile/$target" ] || cp "fixtures/hostile/$target"/* "$corpus"
    case $target in
        gguf) cp fixtures/gguf/*.gguf "$corpus" ;;
        safetensors) cp fixtures/random/mistral-window-7/model.safetensors "$corpus" ;;
        config) cp fixtures/random/mistral-window-7/config.json "$corpus" ;;
        index) cp fixtures/random/mistral-sharded/model.safetensors.index.json "$corpus" ;;
        adapter_config) cp fixtures/adapters/ranks/adapter_config.json "$corpus" ;;
        adapter_weights) cp fixtures/adapters/ranks/adapter_model.safetensors "$corpus" ;;
        adapter_gguf) cp fixtures/adapters/gguf/*.gguf "$corpus" ;;
        tokenizer_config) cp fixtures/tiny-mixtral/tokenizer_config.json "$corpus" ;;
    esac
    echo "== $target"
    "fuzz/target/$host/release/$target" "$corpus" -max_total_time="$seconds" -max_len=131072 -timeout=20 \
        -seed="${SEED:-0}" -artifact_prefix="fuzz/artifacts/$target/" -print_final_stats=1 -verbosity=0
done
