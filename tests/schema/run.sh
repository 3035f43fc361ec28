#!/usr/bin/env bash
# Requests made from the server's own description (/openapi.json), by schemathesis: no answer is a fault of the server's,
# and each is as the description says.
#
# usage: tests/schema/run.sh PROGRAM [EXAMPLES]     PROGRAM is `bise`; 40 examples of each path by default
set -euo pipefail
bise=$(realpath "$1")
examples=${2:-40}

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check schemathesis==4.32.5

# A small context: whatever is asked for ends soon.
"$bise" serve --port 0 --ctx 128 --log off >server.log 2>&1 &
server=$!
until grep -q '^ready' server.log; do
  kill -0 "$server" || { cat server.log; exit 1; }
  sleep 0.1
done
url=$(sed -n 's/^listening at //p' server.log)
venv/bin/st run "$url/openapi.json" --url "$url" --max-examples "$examples" --seed 1 --generation-database none --workers 2 \
  --request-timeout 30 --mode all --phases examples,coverage,fuzzing \
  --checks not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance
kill -0 "$server"
