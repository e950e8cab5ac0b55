"""Whether anything listens at the brokers' addresses. The client itself waits for eight seconds, and leaks a socket per refusal."""

from __future__ import annotations

import socket


def addresses(servers: str) -> list[tuple[str, int]]:
    """`"host:port,[::1]:9092"` → hosts without brackets, with their ports."""
    found = [server.strip().rpartition(":") for server in servers.split(",") if server.strip()]
    return [(host.strip("[]"), int(port)) for host, _, port in found]


def connect(servers: str, timeout_seconds: float) -> socket.socket | None:
    """A connection to the first of the servers that accepts one, each within the time; None if none does."""
    for address in addresses(servers):
        try:
            return socket.create_connection(address, timeout=timeout_seconds)
        except OSError:
            continue
    return None


def listens(servers: str, timeout_seconds: float) -> bool:
    """Whether one of the servers accepts a connection."""
    connection = connect(servers, timeout_seconds)
    if connection is not None:
        connection.close()
    return connection is not None
