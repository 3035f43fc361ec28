#!/usr/bin/env bash
# Drives the chat page in Debian's Chromium, before the real server:
#
#     tests/page/run.sh                      the test
#     PICTURE=docs/chat.png tests/page/run.sh    and a picture for the documentation
#
# Installs what it needs: Chromium by apt, two packages by npm in a folder of its own. BISE=path takes a program that is
# there already; CHROMIUM=path another browser.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${CHROMIUM:=/usr/bin/chromium}"
if [ ! -x "$CHROMIUM" ]; then
    apt-get update -q
    apt-get install -yq --no-install-recommends chromium fonts-dejavu-core
fi
command -v npm > /dev/null || apt-get install -yq --no-install-recommends nodejs npm
if [ -z "${BISE:-}" ]; then
    cargo build --workspace --bin bise --locked
    BISE=${CARGO_TARGET_DIR:-target}/debug/bise
fi
[ -z "${PICTURE:-}" ] || PICTURE=$(realpath "$PICTURE")
BISE=$(realpath "$BISE")
export BISE CHROMIUM PICTURE

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp tests/page/*.mjs tests/page/package*.json tests/page/.npmrc "$work"
cd "$work"
npm ci --silent
node --test --test-reporter=spec page.test.mjs
