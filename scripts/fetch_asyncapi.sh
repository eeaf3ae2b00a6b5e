#!/usr/bin/env bash
# Install AsyncAPI's own parser into the cache, for the test marked `asyncapi`. Prints its directory.
# Needs Node (18 or newer) with npm. Does nothing when it is there already.
set -euo pipefail

sources=$(cd "$(dirname "$0")/asyncapi" && pwd)
version=$(sed -n 's/.*"@asyncapi\/parser": "\(.*\)".*/\1/p' "$sources/package.json")
cache=${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/asyncapi-$version

if [[ ! -d $cache ]]; then
    if ! command -v npm >/dev/null; then
        echo "fetch_asyncapi: npm is missing: install Node (18 or newer)" >&2
        exit 3
    fi
    mkdir -p "$(dirname "$cache")"
    partial=$(mktemp -d "$cache.partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    cp "$sources"/package*.json "$sources/check.mjs" "$partial"
    (cd "$partial" && npm ci --ignore-scripts --no-audit --no-fund >&2)
    # The directory appears by one rename, when it is whole.
    mv -T "$partial" "$cache"
fi
echo "$cache"
