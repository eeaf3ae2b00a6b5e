#!/usr/bin/env bash
# Build images for machines that reach package registries but no image registry: each stands in for an official one.
# Prints the environment that makes compose.yaml and the tests use them:
#   eval "$(tests/containers/standins/build.sh)"
# Needs root, a Docker engine with Compose (scripts/docker_engine.sh), a JDK, Maven, Go. Takes minutes the first time;
# later only what has changed is built again. docs/how-to/containers.md says how they differ from the official images.
set -euo pipefail
cd "$(dirname "$0")"

scripts=../../../scripts
cache=${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/standins
kafka_version=4.1.0
log4j_version=2.24.3
# So that pip, npm and apt in a build trust what this machine trusts.
certificates=/etc/ssl/certs/ca-certificates.crt

fail() {
    echo "standins: $*" >&2
    exit 3
}

# The packages of a Debian release, as one layer; from debootstrap's own mirror, or MESH_DEBIAN_MIRROR.
debian() {
    local suite=$1 image=eldermesh-standin/debian:$1
    docker image inspect "$image" >/dev/null 2>&1 && return
    if ! command -v debootstrap >/dev/null; then
        apt-get update >&2  # a new machine has no lists of packages, or old ones
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends debootstrap >&2 ||
            fail "debootstrap is missing: install it"
    fi
    echo "standins: building $image" >&2
    local root=$work/$suite
    debootstrap --variant=minbase --include=busybox,ca-certificates,python3,python3-venv "$suite" "$root" \
        ${MESH_DEBIAN_MIRROR:+"$MESH_DEBIAN_MIRROR"} >&2
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    ln -s /bin/busybox "$root/usr/local/bin/wget"
    cp "$certificates" "$root$certificates"
    printf '[global]\ncert = %s\n' "$certificates" >"$root/etc/pip.conf"
    tar --create --directory "$root" . | docker import --change "ENV NODE_EXTRA_CA_CERTS=$certificates" - "$image" >&2
}

# The tools of the official image that its health checks use, and its logging: not among the jars that the tests need.
kafka_tools() {
    local directory=$cache/kafka-tools-$kafka_version
    if [[ ! -d $directory ]]; then
        local partial=$work/tools
        mkdir "$partial"
        cat >"$partial/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>eldermesh</groupId>
  <artifactId>kafka-tools-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$kafka_version</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$log4j_version</version>
    </dependency>
  </dependencies>
</project>
POM
        (cd "$partial" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime >&2)
        # The directory appears by one rename, when it is whole.
        mv -T "$partial/libs" "$directory"
    fi
    echo "$directory"
}

# The image of a directory here, with the given files in the directory's place for them.
image() {
    local name=$1 version=$2 place=${3:-.}
    shift $(($# < 3 ? $# : 3))
    echo "standins: building eldermesh-standin/$name:$version" >&2
    local context=$work/$name
    mkdir "$context"
    cp -r "$name/." "$context"
    mkdir -p "$context/$place"
    local file
    for file; do cp "$file" "$context/$place"; done
    # The classic builder: every engine has it, and the docker command needs no plug-in.
    DOCKER_BUILDKIT=0 docker build --quiet --tag "eldermesh-standin/$name:$version" "$context" >&2
    echo "export MESH_$(tr '[:lower:]-' '[:upper:]_' <<<"$name")_IMAGE=eldermesh-standin/$name:$version"
}

docker version >/dev/null 2>&1 || fail 'no Docker engine answers: eval "$(scripts/docker_engine.sh start)"'
mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
debian bookworm
echo "export PYTHON_IMAGE=eldermesh-standin/debian:bookworm"
jars=$("$scripts/fetch_kafka.sh")
tools=$(kafka_tools)
jaeger=$("$scripts/fetch_jaeger.sh")
prometheus=$("$scripts/fetch_prometheus.sh")
image kafka "$kafka_version" libs "$tools"/*.jar "$jars"/*.jar
image redis 7.0
image jaeger 1.62.0 . "$jaeger"
image prometheus 3.5.1 . "$prometheus/prometheus" "$prometheus/promtool"
image redis-commander 0.9.0
