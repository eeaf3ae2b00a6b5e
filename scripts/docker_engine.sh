#!/usr/bin/env bash
# A Docker engine of this project's own, where none answers. Needs root and Debian's packages or a dockerd on the PATH.
#   eval "$(scripts/docker_engine.sh start)"   starts one, or takes the one that answers; sets DOCKER_HOST, DOCKER_CONFIG
#   scripts/docker_engine.sh stop              stops the one that `start` started, and no other
# Images, socket, pid file and log are under MESH_DOCKER_DIR (default: docker in MESH_CACHE_DIR), outside the checkout.
set -euo pipefail

directory=${MESH_DOCKER_DIR:-${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/docker}
socket=$directory/docker.sock
pid_file=$directory/docker.pid
log=$directory/docker.log

fail() {
    echo "docker_engine: $*" >&2
    exit 3
}

answers() { docker --host "$1" version >/dev/null 2>&1; }

# The pid file outlives a crash; the process that has the number now may be somebody else's.
running() {
    [[ -s $pid_file ]] && tr '\0' ' ' <"/proc/$(<"$pid_file")/cmdline" 2>/dev/null | grep -qF -- "--pidfile $pid_file "
}

# Up to 60 s for a condition: dockerd with many images needs a while.
wait_until() {
    for _ in {1..600}; do
        "$@" && return
        sleep 0.1
    done
    return 1
}

stopped() { ! running; }

compose_plugin() {
    docker compose version >/dev/null 2>&1 || echo "export DOCKER_CONFIG=$("$(dirname "$0")/fetch_compose.sh")"
}

start() {
    if docker version >/dev/null 2>&1; then
        [[ -z ${DOCKER_HOST:-} ]] || echo "export DOCKER_HOST=$DOCKER_HOST"
        compose_plugin
        return
    fi
    if ! running; then
        [[ $(id -u) == 0 ]] || fail "no Docker engine answers: start one, or run this as root"
        if ! command -v dockerd >/dev/null; then
            command -v apt-get >/dev/null || fail "dockerd is missing: install Docker"
            echo "docker_engine: installing Debian's docker.io" >&2
            # Installed, it would start at once with the machine's own directories.
            apt-get update >&2  # a new machine has no lists of packages, or old ones
            env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends docker.io >&2 ||
                fail "apt-get could not install docker.io: install Docker"
        fi
        mkdir -p "$directory"
        rm -f "$pid_file"
        setsid dockerd --host "unix://$socket" --data-root "$directory/data" --exec-root "$directory/exec" \
            --pidfile "$pid_file" >"$log" 2>&1 </dev/null &
    fi
    if ! wait_until answers "unix://$socket"; then
        tail -n 5 "$log" >&2
        fail "the Docker engine did not answer within 60 s: see $log"
    fi
    echo "export DOCKER_HOST=unix://$socket"
    compose_plugin
}

stop() {
    running || return 0
    kill -TERM "$(<"$pid_file")"
    wait_until stopped || fail "the Docker engine, process $(<"$pid_file"), did not stop within 60 s: see $log"
}

case ${1:-} in
    start | stop) "$1" ;;
    *) fail "say start or stop" ;;
esac
