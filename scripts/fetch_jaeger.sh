#!/usr/bin/env bash
# Build Jaeger into the cache, for the tests marked `jaeger`. Prints the path of the program.
# Needs Go. Does nothing when it is there already; the first time takes minutes.
set -euo pipefail

version=1.62.0
cache=${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/jaeger-$version
sources=$(cd "$(dirname "$0")/jaeger" && pwd)

if [[ ! -x $cache/jaeger ]]; then
    if ! command -v go >/dev/null; then
        echo "fetch_jaeger: go is missing: install Go (1.24 or newer)" >&2
        exit 3
    fi
    mkdir -p "$cache"
    partial=$(mktemp -d "$cache/partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    echo "fetch_jaeger: building Jaeger $version" >&2
    # The program appears by one rename, when it is whole.
    (cd "$sources" && go build -mod=readonly -trimpath -ldflags='-s -w' \
        -o "$partial/jaeger" github.com/jaegertracing/jaeger/cmd/all-in-one >&2)
    mv "$partial/jaeger" "$cache/jaeger"
fi
echo "$cache/jaeger"
