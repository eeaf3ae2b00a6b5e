#!/usr/bin/env bash
# Install Debian's redis-server, for the tests marked `redis`: the embedded one has no TLS. Prints its path.
# Does nothing when one is there already. Needs Debian or a system like it, and root.
set -euo pipefail

if ! command -v redis-server >/dev/null; then
    if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
        echo "fetch_redis: redis-server is missing: install it (7.0 or newer, with TLS)" >&2
        exit 3
    fi
    apt-get update --quiet >&2  # a new machine has no lists of packages, or old ones
    # At this run level the package does not start its service.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends redis-server >&2
fi
command -v redis-server
