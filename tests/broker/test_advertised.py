"""A broker that advertises an address at which nothing listens: the line names that address and the broker's setting."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from local import tansu
from pipeline.process.ports import answers, free_port
from tests.conftest import until
from tests.process.test_script import start


@pytest.mark.parametrize(("advertised", "why"), [("no-such-host.invalid:9092", ""), ("127.0.0.1:1", "Connection refused")])
def test_an_unreachable_advertised_address_is_named(tmp_path: Path, advertised: str, why: str) -> None:
    port = free_port(23_000)
    command = [tansu._binary(), "broker", "--cluster-id", "astray", "--listener-url", f"tcp://127.0.0.1:{port}"]
    command += ["--advertised-listener-url", f"tcp://{advertised}", "--storage-engine", "memory://tansu/", "--silent"]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port), 20, "the broker")
        began = time.monotonic()
        process = start("kafka_scraper_producer.py", tmp_path, "--regions", "fr", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")
        said, complained = process.communicate(timeout=60)
    finally:
        broker.kill()
        broker.wait()
    assert (process.returncode, said) == (3, "")
    assert time.monotonic() - began < 45, "it says so after 10 s, on a machine that is not busy"
    assert complained.startswith(
        f"kafka_scraper_producer.py: Kafka at 127.0.0.1:{port} answers, and sends its clients on to {advertised}, "
    )
    assert why in complained
    assert "Set advertised.listeners of that broker" in complained
    assert complained.count("\n") == 1
