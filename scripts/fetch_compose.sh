#!/usr/bin/env bash
# Build Docker Compose into the cache, for machines whose docker command has none. Prints a directory for DOCKER_CONFIG.
# Needs Go. Does nothing when it is there already; the first time takes minutes.
set -euo pipefail

version=2.32.4
cache=${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/compose-$version
plugin=$cache/cli-plugins/docker-compose
sources=$(cd "$(dirname "$0")/compose" && pwd)

if [[ ! -x $plugin ]]; then
    if ! command -v go >/dev/null; then
        echo "fetch_compose: go is missing: install Go (1.24 or newer)" >&2
        exit 3
    fi
    mkdir -p "${plugin%/*}"
    partial=$(mktemp -d "$cache/partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    echo "fetch_compose: building Docker Compose $version" >&2
    # The program appears by one rename, when it is whole.
    (cd "$sources" && go build -mod=readonly -trimpath \
        -ldflags="-s -w -X github.com/docker/compose/v2/internal.Version=v$version" \
        -o "$partial/docker-compose" github.com/docker/compose/v2/cmd >&2)
    mv "$partial/docker-compose" "$plugin"
fi
echo "$cache"
