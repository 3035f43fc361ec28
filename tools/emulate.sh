#!/usr/bin/env bash
# Runs the program and its tests on CPUs that this machine does not have, under QEMU (Debian 12: qemu-user-static).
#
#     tools/emulate.sh x86      the release program on an x86-64 without AVX and on one with AVX2
#     tools/emulate.sh arm      the program and the tests of kernels and logits on AArch64, at each of its levels
#
# Texts and files must be those of this machine, byte for byte. BISE=path takes a program that is there already.
#
# x86: one program serves all, so nothing that needs more than the first x86-64 may run before the level is chosen. QEMU
# ends a program at the first instruction that its CPU lacks.
#
# arm: needs Debian's own Rust, since rustup's has no library for AArch64 unless it is added:
#     dpkg --add-architecture arm64 && apt-get update
#     apt-get install -y --no-install-recommends rustc-web cargo-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu \
#         libc6-dev-arm64-cross qemu-user-static
# PROPTEST_CASES (default 16) says how often laws are tried that do not say it themselves: QEMU is slow.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the program makes of the same inputs, in the folder $1, when it is started by the rest of the arguments.
results() {
    local out=$1 start=("${@:2}")
    mkdir -p "$out"
    "${start[@]}" run -p "Once upon a time" --temp 0 -n 40 > "$out/story"
    "${start[@]}" run -p "Once upon a time" --seed 1 -n 40 --kv-type q8_0 > "$out/sampled"
    printf 'Tell me about a fox.\nAnd then?\n' | "${start[@]}" chat --template v1 --temp 0 -n 24 > "$out/chat"
    "${start[@]}" quantize fixtures/tiny-mistral "$out/q4_k.gguf" --type Q4_K_M > /dev/null
    "${start[@]}" quantize fixtures/tiny-mistral "$out/iq4_nl.gguf" --type IQ4_NL > /dev/null
    "${start[@]}" logits "$out/iq4_nl.gguf" --tokens 1,2,3,4,5,6,7,8,9,10 -o "$out/logits" > /dev/null
    local file
    for file in "$out"/*; do
        [ -s "$file" ] || { echo "nothing in $file"; exit 1; }
    done
}

# The levels that the program finds, by the error for a level that there is not.
levels() {
    { "$@" run --isa none -p x 2>&1 || true; } | sed -n 's/.*this machine has: //p'
}

# What the program of this machine makes.
native() {
    bise=${BISE:-target/release/bise}
    [ -n "${BISE:-}" ] || cargo build --release --workspace --locked
    results "$work/native" "$bise" 2> /dev/null
    echo "this machine: $(levels "$bise")"
}

# Whether a CPU has the levels $2, and the program started by the rest of the arguments makes the same on it.
same() {
    local cpu=$1 expected=$2 start=("${@:3}") found
    found=$(levels "${start[@]}")
    [ "$found" = "$expected" ] || { echo "$cpu: levels $found, expected $expected"; exit 1; }
    results "$work/$cpu" "${start[@]}" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
    diff -r "$work/native" "$work/$cpu"
    echo "$cpu: $found; the same bytes"
}

x86() {
    local bise cpu expected
    native
    while read -r cpu expected; do
        same "$cpu" "$expected" qemu-x86_64-static -cpu "$cpu" "$bise" < /dev/null
    done <<'CPUS'
qemu64 scalar
Haswell scalar, avx2
CPUS
}

arm() {
    local bise cpu expected target=aarch64-unknown-linux-gnu
    native
    export RUSTC=/usr/bin/rustc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    # Programs that load libraries hang at their first thread under this QEMU.
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
    local options=(--quiet --target "$target" --target-dir target/aarch64)
    local tests=(-p bise-kernels -p bise-model --test isa --test matmul --test ops --test one_result --test session)
    /usr/bin/cargo build "${options[@]}" -p bise-cli < /dev/null
    # A CPU of ARMv8.0, one with products of bytes, one with products of matrices of bytes.
    while read -r cpu expected; do
        same "$cpu" "$expected" qemu-aarch64-static -cpu "$cpu" "target/aarch64/$target/debug/bise" < /dev/null
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $cpu"
        PROPTEST_CASES=${PROPTEST_CASES:-16} /usr/bin/cargo test "${options[@]}" "${tests[@]}" < /dev/null
    done <<'CPUS'
cortex-a53 scalar, neon
neoverse-n1 scalar, neon, dotprod
max scalar, neon, dotprod, i8mm
CPUS
}

case ${1:-} in
    x86) x86 ;;
    arm) arm ;;
    *)
        sed -n '4,5s/^# *//p' "$0"
        exit 2
        ;;
esac
