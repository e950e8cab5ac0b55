from __future__ import annotations

import socket

import pytest

from pipeline.process.ports import free_port, is_free


def listener(host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as brokers and databases do
    try:
        server.bind((host, port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_skipped(host: str) -> None:
    with listener(host) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert free_port(port) > port


def test_a_port_in_use_on_ipv6_only_is_skipped() -> None:
    try:
        server = listener("::1", family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with server:
        port = server.getsockname()[1]
        assert free_port(port) > port


def test_the_preferred_port_is_taken_if_free_even_right_after_its_use() -> None:
    with listener("127.0.0.1") as server:
        port = server.getsockname()[1]
        # The side that closes first keeps the connection in TIME_WAIT, here the server's.
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            client.recv(1)
    assert free_port(port) == port


def test_without_a_preference_the_system_chooses() -> None:
    assert is_free(free_port())
