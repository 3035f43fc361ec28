#!/usr/bin/env bash
# The cache of bise pull, and huggingface_hub on the same one. All of it on loopback.
#
# usage: tests/hub/run.sh PROGRAM     PROGRAM is `bise`
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:?usage: tests/hub/run.sh PROGRAM}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cd "$here"
"$work/venv/bin/python" shared_cache.py "$program"
