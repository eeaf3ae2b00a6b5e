#!/usr/bin/env bash
# Put the jars of Apache Kafka into the cache, for the tests marked `kafka`. Prints the directory that holds them.
# Needs a JDK (17 or newer) and Maven. Does nothing when they are there already.
set -euo pipefail

version=4.1.0
cache=${MESH_CACHE_DIR:-$HOME/.cache/eldermesh}/kafka-$version
libs=$cache/libs

# The directory appears by one rename, when it is whole.
if [[ ! -f $libs/kafka_2.13-$version.jar ]]; then
    for tool in java mvn; do
        if ! command -v "$tool" >/dev/null; then
            echo "fetch_kafka: $tool is missing: install a JDK (17 or newer) and Maven" >&2
            exit 3
        fi
    done
    mkdir -p "$cache"
    partial=$(mktemp -d "$cache/partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    cat >"$partial/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>eldermesh</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
  </dependencies>
</project>
POM
    echo "fetch_kafka: fetching Apache Kafka $version with Maven" >&2
    (cd "$partial" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime >&2)
    rm -rf "$libs"
    mv "$partial/libs" "$libs"
fi
echo "$libs"
