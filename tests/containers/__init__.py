"""The mesh in containers, driven from outside: a plain Kafka client, Jaeger's query API and the docker command."""
