"""The log: topics, codec, the Kafka adapters and the embedded broker."""
