#!/usr/bin/env bash
# Build Prometheus and promtool into the cache, for the tests marked `prometheus`. Prints their directory.
# Needs Go. Does nothing when they are there already; the first time takes minutes. Debian's 2.42 takes no OTLP.
set -euo pipefail

version=3.5.1
cache=${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/prometheus-$version
sources=$(cd "$(dirname "$0")/prometheus" && pwd)

if [[ ! -x $cache/prometheus || ! -x $cache/promtool ]]; then
    if ! command -v go >/dev/null; then
        echo "fetch_prometheus: go is missing: install Go (1.24 or newer)" >&2
        exit 3
    fi
    mkdir -p "$cache"
    partial=$(mktemp -d "$cache/partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    echo "fetch_prometheus: building Prometheus $version" >&2
    # Each program appears by one rename, when it is whole.
    for program in prometheus promtool; do
        (cd "$sources" && go build -mod=readonly -trimpath -ldflags="-s -w -X github.com/prometheus/common/version.Version=$version" \
            -o "$partial/$program" "github.com/prometheus/prometheus/cmd/$program" >&2)
        mv "$partial/$program" "$cache/$program"
    done
fi
echo "$cache"
