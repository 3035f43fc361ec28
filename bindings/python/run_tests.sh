#!/usr/bin/env bash
# Builds the package for Python, installs its wheel into an environment that has nothing else, and tests it.
#
# usage: bindings/python/run_tests.sh [PROGRAM [PYTEST OPTIONS]]     PROGRAM is `bise`; it is built when none is given
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ $# = 0 ]; then
  cargo build --release --locked --bin bise --manifest-path "$root/Cargo.toml"
  set -- "$root/target/release/bise"
fi
BISE=$(realpath "$1")
export BISE
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== wheel"
python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check "maturin==1.16.0"
"$work/build/bin/maturin" build --release --quiet --manifest-path "$here/Cargo.toml" --out "$work/wheels"
WHEEL=$(echo "$work"/wheels/*.whl)
export WHEEL

echo "== tests"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$WHEEL[test]"
cd "$here/tests"
"$work/venv/bin/pytest" -q -p no:cacheprovider "$@"
