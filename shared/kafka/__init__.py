"""How the services speak to Kafka. Who uses it sees decisions (`shared.errors`), never an exception of aiokafka."""
