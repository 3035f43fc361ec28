#!/usr/bin/env bash
# The real clients against a server.
#
# usage: tests/clients/run.sh [PROGRAM]     PROGRAM is `bise`; it is built when none is given
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

bise=${1:-}
if [ -z "$bise" ]; then
  cargo build --release --locked --manifest-path "$root/Cargo.toml"
  bise=$root/target/release/bise
fi
bise=$(realpath "$bise")

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

echo "== packages"
cp "$here"/* "$work/"
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt &
npm install --silent --no-audit --no-fund
wait $!
PATH=$work/venv/bin:$PATH

echo "== server"
# One answer at a time: whoever goes away and is not noticed would keep all others waiting.
python3 make_model.py "$root/fixtures/demo.gguf" chat.gguf
"$bise" serve chat.gguf --port 0 --sequences 1 --ctx 1000000 >server.log 2>&1 &
server=$!
for _ in $(seq 300); do
  url=$(sed -n 's/^listening at //p' server.log)
  [ -z "$url" ] || ! python3 -c "import urllib.request as r; r.urlopen('$url/health')" 2>/dev/null || break
  kill -0 "$server" || { cat server.log; exit 1; }
  sleep 0.1
done

for script in *.py *.mjs; do
  case $script in
    make_model.py | steps.*) continue ;;
    *.py) with=python3 ;;
    *.mjs) with=node ;;
  esac
  echo "== $script"
  timeout 120 "$with" "$script" "$url" || { cat server.log; exit 1; }
done
