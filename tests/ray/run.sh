#!/usr/bin/env bash
# Tests of bise.ray on a cluster of three nodes, all on this machine.
#
# usage: tests/ray/run.sh WHEEL [OPTIONS OF PYTEST]     PROMPTS=200 for a short form
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,4s/^# \?//p' "$0"; exit 2; }
wheel=$(realpath "$1")
shift

work=$(mktemp -d /tmp/bise-ray-XXXX)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --requirement "$here/requirements.txt" "$wheel"

# Sockets have short paths; nodes find each other at 127.0.0.1; nothing is told to anybody.
mkdir "$work/r"
export RAY_TMPDIR=$work/r RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 RAY_USAGE_STATS_ENABLED=0
export RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=bise.ray.sessions:middlewares
cd "$here"
"$work/venv/bin/python" -m pytest -q -p no:cacheprovider -W ignore "$@"
