#!/usr/bin/env bash
# The tests of the mesh in containers, from a machine without an engine or an image: starts an engine, builds stand-ins
# for the official images, runs the suite and stops the engine. No test may be skipped, and all variants run. Needs root,
# `make setup` and what scripts/docker_engine.sh and tests/containers/standins/build.sh need.
#   scripts/ci_containers.sh -k flower    the rest of a line narrows it, as pytest's does
#   scripts/ci_containers.sh --prepare    only builds the stand-ins and the mesh's own images, and stops the engine
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '\n==> %s\n' "$*" >&2
    SECONDS=0
    "$@"
    printf '==> %s s: %s\n' "$SECONDS" "$1" >&2
}

trap 'scripts/docker_engine.sh stop' EXIT
# Not `eval "$(…)"`, which goes on when the command fails.
engine=$(step scripts/docker_engine.sh start)
eval "$engine"
images=$(step tests/containers/standins/build.sh)
eval "$images"
if [[ ${1:-} == --prepare ]]; then
    step docker compose --profile command build
    exit 0
fi
export MESH_REQUIRE_CONTAINERS=1 MESH_TEST_THOROUGH=1
step .venv/bin/python -m pytest tests/containers tests/unit/test_containers.py --durations=10 "$@"
