"""What history means to a reader: read models, kept from Kafka, filled and mended from the event store."""
