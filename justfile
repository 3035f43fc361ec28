# Everyday work; `just` lists the recipes.

default:
    @just --list

# What a commit must pass
ci:
    .ci/run

# All tests
test:
    cargo test --workspace

# The package for Python: build, install, test
python:
    bindings/python/run_tests.sh

# Format, then lint as CI does
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Remake fixtures/ (needs Python, tools/fixtures/requirements.txt, half an hour)
fixtures:
    tools/fixtures/make.sh

# Remake the model compiled into the program
demo:
    cargo run --release -- quantize fixtures/tiny-mistral fixtures/demo.gguf --type Q4_K_M

# Compare with llama.cpp (needs tools/fixtures/requirements.txt)
compare:
    cargo build --release
    python3 tools/fixtures/against_llama.py
