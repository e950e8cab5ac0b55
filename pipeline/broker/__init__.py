"""Kafka as this program uses it: clients, positions, groups, and why a broker is not reachable."""
