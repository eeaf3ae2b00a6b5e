#!/usr/bin/env bash
# Test the mesh of compose.yaml in eight stages, each timed, and write a report:
#   scripts/docker-test.sh                  all stages
#   scripts/docker-test.sh --from workers   again from that stage on; what ran before it is kept
# Stages: prerequisites build servers workers unit integration performance report. The report is in build/docker-test:
# report.md, and junit.xml for a CI. At the end the containers, networks and volumes are removed; after a failure they
# stay for `--from`, until `docker compose --project-name mesh-docker-test down --volumes`.
set -uo pipefail
cd "$(dirname "$0")/.."

stages=(prerequisites build servers workers unit integration performance report)
results=build/docker-test
compose=(docker compose --project-name mesh-docker-test)
python=.venv/bin/python
mesh=("${compose[@]}" run --rm --no-TTY mesh)

say() { echo "docker-test: $*" >&2; }

prerequisites() {
    docker version >/dev/null || { say 'no Docker engine answers: eval "$(scripts/docker_engine.sh start)"'; return 1; }
    docker compose version || { say "docker has no Compose: install its plug-in"; return 1; }
    [[ -x $python ]] || { say "there is no .venv: run make setup"; return 1; }
}

build() { "${compose[@]}" --profile command build; }

servers() { "${compose[@]}" up --detach --wait kafka redis jaeger; }

workers() {
    "${compose[@]}" up --detach --wait --scale router=2 --scale worker-batch=2 --scale sages=2 &&
        "${mesh[@]}" doctor
}

unit() { "$python" -m pytest --quiet --numprocesses "$(nproc)" --dist loadfile tests/unit; }

integration() {
    MESH_REQUIRE_CONTAINERS=1 "$python" -m pytest --quiet tests/containers/test_own_stack.py &&
        "${mesh[@]}" submit python --function math:sqrt 1 4 9 --wait &&
        seq 200 | "${mesh[@]}" submit python --function math:sqrt - --wait &&
        "${mesh[@]}" audit --wait 60
}

# One router and one worker against two of each, twice, so that a slow minute of the machine shows.
performance() {
    local count
    for count in 1 2 1 2; do
        "${compose[@]}" --progress quiet up --detach --no-deps --no-recreate --wait --scale router="$count" \
            --scale worker-batch="$count" router worker-batch &&
            printf 'routers and workers: %s each; ' "$count" &&
            "$python" -m tests.containers.throughput "$("${compose[@]}" port kafka 9094)" "${MESH_TEST_JOBS:-500}" || return
    done
    docker stats --no-stream --format '{{.Name}} {{.MemUsage}}'
}

# From the times of all stages: a table, and what CI systems read.
report() {
    local stage seconds status
    {
        printf '# The mesh in containers\n\n| stage | result | seconds |\n|---|---|---|\n'
        while read -r stage status seconds; do printf '| %s | %s | %s |\n' "$stage" "$status" "$seconds"; done <"$results/times"
        printf '\n## Performance\n\n```\n%s\n```\n' "$(cat "$results/performance.log" 2>/dev/null)"
    } >"$results/report.md"
    {
        printf '<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="docker-test" tests="%s" failures="%s">\n' \
            "$(wc -l <"$results/times")" "$(grep -c ' failed ' "$results/times")"
        while read -r stage status seconds; do
            printf '<testcase classname="docker-test" name="%s" time="%s">' "$stage" "$seconds"
            [[ $status == passed ]] || printf '<failure message="see %s.log"/>' "$stage"
            printf '</testcase>\n'
        done <"$results/times"
        printf '</testsuite>\n'
    } >"$results/junit.xml"
    cat "$results/report.md"
}

first=${stages[0]}
if [[ ${1:-} == --from && $# == 2 && " ${stages[*]} " == *" $2 "* ]]; then
    first=$2
elif [[ $# != 0 ]]; then
    say "usage: scripts/docker-test.sh [--from STAGE], a stage of: ${stages[*]}"
    exit 2
fi

mkdir -p "$results"
touch "$results/times"
# What is due has no result until it has run again: a report after a failure must not show an old one.
due=()
for stage in "${stages[@]}"; do
    [[ ${#due[@]} == 0 && $stage != "$first" ]] || due+=("$stage")
done
for stage in "${due[@]}"; do
    sed -i "/^$stage /d" "$results/times"
    rm -f "$results/$stage.log"
done
for stage in "${due[@]}"; do
    say "$stage"
    SECONDS=0
    if "$stage" >"$results/$stage.log" 2>&1; then status=passed; else status=failed; fi
    [[ $stage == report ]] || echo "$stage $status $SECONDS" >>"$results/times"
    if [[ $status == failed ]]; then
        tail -n 20 "$results/$stage.log" >&2
        report >/dev/null
        say "$stage failed after $SECONDS s: see $results/$stage.log; go on with --from $stage"
        exit 1
    fi
done
"${compose[@]}" --profile '*' down --volumes --remove-orphans --timeout 30 >"$results/down.log" 2>&1 ||
    { say "the containers could not be removed: see $results/down.log"; exit 1; }
cat "$results/report.md"
