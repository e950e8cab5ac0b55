"""Consumers on other hosts, each a network namespace of its own, and one of them cut off in the middle of a run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

import config
from pipeline.runs.account_reader import Tally
from tests.conftest import until
from tests.e2e.conftest import Terminal
from tests.faults.conftest import STOCKS, all_rows, assert_same_rows, check_account, longest_standstill, note

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)


class Host:
    """A namespace that reaches this machine by one cable, and this machine's services at 127.0.0.1."""

    def __init__(self, number: int) -> None:
        place = 4 * (os.getpid() % 10_000) + 2 * number
        self.name = f"stocks{place}"
        self.near, self.far = f"10.213.{place // 250}.{place % 250 + 1}", f"10.213.{place // 250}.{place % 250 + 2}"
        ip("netns", "add", self.name)
        ip("link", "add", self.name, "type", "veth", "peer", "name", "cable", "netns", self.name)
        ip("address", "add", self.near, "peer", self.far, "dev", self.name)
        ip("link", "set", self.name, "up")
        for command in (("link", "set", "lo"), ("link", "set", "cable")):
            ip("-n", self.name, *command, "up")
        ip("-n", self.name, "address", "add", self.far, "peer", self.near, "dev", "cable")

    @property
    def inside(self) -> tuple[str, ...]:
        return "ip", "netns", "exec", self.name

    def connect(self, terminal: Terminal, ports: list[int]) -> None:
        numbers = [str(port) for port in ports]
        terminal.start("-m", "tests.faults.forward", self.near, "127.0.0.1", *numbers)
        terminal.start("-m", "tests.faults.forward", "127.0.0.1", self.near, *numbers, inside=self.inside)
        for port in ports:
            until(lambda port=port: _listens(self.near, port), 60, f"{self.near}:{port}")

    def cut_off(self) -> None:
        """Nothing comes or goes any more, and nobody is told."""
        ip("link", "set", self.name, "down")

    def connect_again(self) -> None:
        ip("link", "set", self.name, "up")

    def remove(self) -> None:
        ip("netns", "delete", self.name)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex((host, port)) == 0


@pytest.fixture
def hosts(terminal: Terminal) -> Iterator[list[Host]]:
    found = [Host(0), Host(1)]
    yield found
    terminal.end_processes()
    for host in found:
        host.remove()


def test_a_host_cut_off_during_a_run_loses_nothing_and_doubles_nothing(terminal, hosts, undisturbed, request):
    holder = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", str(STOCKS), "--latency-ms", "400")
    until(lambda: terminal.demo_is_up() or holder.poll() is not None, 150, "the services")
    settings = config.load(True, terminal.environment())
    site = int(settings.yahoo_base_url.rpartition(":")[2].strip("/"))
    ports = [int(settings.kafka.bootstrap_servers.rpartition(":")[2]), settings.database.port, site]
    for host in hosts:
        host.connect(terminal, ports)
    began = time.monotonic()
    scraper = terminal.start("kafka_scraper_consumer.py", "--demo", inside=hosts[0].inside)
    stays, goes = (terminal.start("kafka_processing_consumer.py", "--demo", inside=host.inside, PROCESSOR_THREADS="4") for host in hosts)
    for process in (scraper, stays, goes):
        until(lambda process=process: "ready" in terminal.errors(process) or process.poll() is not None, 180, "a consumer that is ready")
        assert process.poll() is None, terminal.errors(process)
    assert terminal.run("kafka_scraper_producer.py", "--demo").returncode == 0
    tally = Tally(settings.kafka)

    def account():
        tally.poll()
        return tally.newest()

    until(lambda: (found := account()) and found.processing["completed"] >= 20, 180, "some work")
    assert account().pending, "the run was over before anything could happen to it"
    hosts[1].cut_off()
    since = time.time()
    until(lambda: len(account().processing.tasks) == STOCKS and not account().pending, 150, "the end of the run by those who are left")
    connection = terminal.database()
    standstill = longest_standstill(connection, since)
    assert goes.poll() is None, "it waits for its network"
    until(lambda: "is away" in terminal.errors(goes), 180, "its word that nobody is there")
    hosts[1].connect_again()
    until(lambda: "is back after" in terminal.errors(goes), 150, "its return")
    for process in (scraper, stays, goes):
        process.send_signal(signal.SIGTERM)
    for process in (scraper, stays, goes):
        assert process.wait(60) == 0, terminal.errors(process)

    # What it had in hand, it has done by now a second time.
    tally.read_to_now()
    check_account(vars(account()) | {"scraping": account().scraping.summary(), "processing": account().processing.summary()})
    assert_same_rows(all_rows(connection), undisturbed[1])
    connection.close()
    tally.close()
    note(request, "a host with a processing consumer is cut off", 1, time.monotonic() - began, standstill)
