#!/usr/bin/env bash
# Fetches the two libraries of the chat page, at the versions named here, and their licences:
#
#     tools/vendor_page.sh
#
# Nothing is written unless every file is the one that was looked at when its version was chosen. To take a new
# version, change its number, and the hashes when the new files have been looked at. Needs npm.
set -euo pipefail
cd "$(dirname "$0")/.."
to=crates/bise-serve/src/page/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && npm pack --silent marked@18.2.1 dompurify@3.5.0 > /dev/null)
for archive in "$work"/*.tgz; do
    mkdir "${archive%.tgz}"
    tar xzf "$archive" -C "${archive%.tgz}" --strip-components 1
done
mkdir "$work/vendor"
cp "$work/marked-18.2.1/lib/marked.esm.js" "$work/vendor/marked.esm.js"
cp "$work/marked-18.2.1/LICENSE" "$work/vendor/marked.LICENSE"
cp "$work/dompurify-3.5.0/dist/purify.min.js" "$work/vendor/purify.min.js"
cp "$work/dompurify-3.5.0/LICENSE" "$work/vendor/purify.LICENSE"

(cd "$work/vendor" && sha256sum --check --strict --quiet) <<'SUMS'
8e3a3f82f59a60958f56ca08f445647c32a4733dc7ca6c2c46f6eb898471ab9c  marked.LICENSE
5371fea86fd0656b4fc7bea7c94c663109d82789b69433eeee78d42895aa44de  marked.esm.js
cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30  purify.LICENSE
f69a46022ab1f53e969c8ebbca98172c8995785a9b3be72ea4a12d25b1a1bf67  purify.min.js
SUMS
mkdir -p "$to"
cp "$work"/vendor/* "$to"
echo "$to: marked 18.2.1, DOMPurify 3.5.0"
