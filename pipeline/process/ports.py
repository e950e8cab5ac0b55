"""Finds a port that no program on this machine uses."""

from __future__ import annotations

import socket

#: How many ports after the preferred one are tried before the system chooses.
TRIES = 100


def free_port(preferred: int = 0) -> int:
    """`preferred` or the next free port on 127.0.0.1. For 0 the system chooses.

    Another program may take the port before it is used. Start the server, check that it lives, else try the next port.
    """
    if preferred:
        for port in range(preferred, min(preferred + TRIES, 65536)):
            if is_free(port):
                return port
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
        assert isinstance(port, int)
        return port


def is_free(port: int) -> bool:
    """Whether a server can bind `port`, and no other server answers on it at localhost, by IPv4 or IPv6."""
    return not (answers(port) or answers(port, "::1", socket.AF_INET6)) and _can_bind(port)


def answers(port: int, host: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET) -> bool:
    """Whether a server accepts connections there."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(1.0)
            return client.connect_ex((host, port)) == 0
    except OSError:  # no IPv6 on this machine, or no answer within the second
        return False


def _can_bind(port: int) -> bool:
    with socket.socket() as server:
        # As the servers do: connections that have just ended (TIME_WAIT) do not block the port.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
