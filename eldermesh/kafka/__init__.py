"""aiokafka's clients, made safe to start, stop and cancel: below everything that speaks to Kafka."""
