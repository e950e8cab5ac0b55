"""The embedded services, for real: a broker, a database, and what becomes of them when their owner is killed."""
