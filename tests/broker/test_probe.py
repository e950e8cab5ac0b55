import socket

import pytest

from pipeline.broker import probe


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ("localhost:9092", [("localhost", 9092)]),
        (" kafka-1:9092, [::1]:9093 ,10.0.0.1:9094", [("kafka-1", 9092), ("::1", 9093), ("10.0.0.1", 9094)]),
        ("", []),
    ],
)
def test_addresses_may_list_several_servers_and_use_ipv6(servers, expected):
    assert probe.addresses(servers) == expected


def test_one_listening_server_is_enough():
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody, somebody = "127.0.0.1:1", f"127.0.0.1:{server.getsockname()[1]}"
        assert probe.listens(f"{nobody},{somebody}", 2)
        assert not probe.listens(nobody, 2)
