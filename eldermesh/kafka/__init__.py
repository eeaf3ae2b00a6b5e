"""aiokafka's clients, made safe to start, stop and cancel, with errors of their own: below all that speaks to Kafka."""
