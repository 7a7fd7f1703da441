"""How history is kept: appended in groups, read back, told to Kafka; and the tables of the write side."""
