"""The processes of a run (consumers, producer, monitor, page) and the order in which they start and stop."""

from __future__ import annotations

import argparse
import signal
import time

import config
from config import Settings, SettingsError
from launch.plan import Plan
from launch.run_log import RunLog
from pipeline.errors import ServiceError
from pipeline.process import child as child_process
from pipeline.process.arguments import write_bands
from pipeline.process.child import Child
from pipeline.process.log_end import last_lines

#: Seconds within which the page must print its address.
PAGE_SECONDS = 15.0
#: Seconds that monitor and page have to end before they are killed.
STOP_SECONDS = 5.0


class Children:
    """Started one by one, kept alive by `keep_alive`, all stopped by `stop`."""

    def __init__(self, settings: Settings, say: RunLog) -> None:
        self._settings = settings
        self._say = say
        self._demo = ["--demo"] if settings.demo else []
        self._workers: list[Child] = []
        self._monitor: Child | None = None
        self._producer: Child | None = None
        self._page: Child | None = None
        self.page_address = ""

    def start_page(self) -> None:
        """Start the page at localhost:8080, or the next free port."""
        self._page = self._child("page", "kafka_ui.py", *self._demo)
        self._page.start()

    def say_where_the_page_is(self) -> None:
        """Wait for the page's address and print it. If the page does not start, the run goes on without it."""
        assert self._page is not None
        deadline = time.monotonic() + PAGE_SECONDS
        while not self.page_address and self._page.returncode() is None and time.monotonic() < deadline:
            found = [line for line in self._page.tail().splitlines() if line.startswith("page: ")]
            self.page_address = found[0].removeprefix("page: ") if found else ""
            time.sleep(0.05)
        if self.page_address:
            self._say(f"page: {self.page_address}")
        else:
            self._say(f"the page did not start, and the run goes on without it: {self._page.tail(1)}")
            self._page.kill()
            self._page = None

    def start(self, plan: Plan, arguments: argparse.Namespace) -> None:
        """Start every process that the plan needs, the slowest to get ready first."""
        self._say(f"{plan}; {arguments.scrapers} scrapers, {arguments.processors} processors")
        self._say(f"logs: {self._say.log_dir}")
        self._make_workers(arguments)
        for child in self._workers:
            child.start()
        if plan.unsent:
            tasks = (self._say.log_dir / "tasks.json").resolve()
            write_bands(tasks, plan.unsent)
            flags = [*self._demo, "--run-id", plan.run_id, "--bands-file", str(tasks)]
            self._producer = self._child("producer", "kafka_scraper_producer.py", *flags)
            self._producer.start()
        # The monitor takes over the terminal, so every other message comes first.
        self.say_where_the_page_is()
        page = ["--page", self.page_address] if self.page_address else []
        self._monitor = self._child("monitor", "kafka_monitor.py", *self._demo, "--run", plan.run_id, *page)
        self._monitor.stdout = self._say.out
        self._say.monitor_has_terminal = self._say.out.isatty()
        self._monitor.start()

    def _make_workers(self, arguments: argparse.Namespace) -> None:
        max_age = ["--max-age", arguments.max_age] if arguments.max_age else []
        refresh = ["--refresh", arguments.refresh]
        for number in range(1, arguments.scrapers + 1):
            self._workers.append(self._child(f"scraper-{number}", "kafka_scraper_consumer.py", *self._demo))
        for number in range(1, arguments.processors + 1):
            self._workers.append(self._child(f"processor-{number}", "kafka_processing_consumer.py", *self._demo, *max_age, *refresh))

    def _child(self, name: str, *command: str) -> Child:
        return Child(name, command, self._say.log_dir / f"{name}.log")

    def keep_alive(self, finished_tasks: int) -> None:
        """Restart processes that have died. `finished_tasks` is the run's progress. Raises ServiceError if one keeps dying."""
        for child in (*self._workers, *([self._monitor] if self._monitor is not None else [])):
            child.keep_alive(finished_tasks, self._say)
        if self._page is None:
            return
        try:
            self._page.keep_alive(0, self._say)
        except ServiceError as error:
            self._say(f"the page is gone, and the run goes on without it: {error}")
            self._page = None

    def producer_has_ended(self) -> bool:
        """Whether all tasks are sent. Raises SettingsError or ServiceError if the producer failed."""
        if self._producer is None:
            return True
        code = self._producer.returncode()
        if code is not None and code != config.EXIT_DONE:
            error = SettingsError if code == config.EXIT_SETTINGS else ServiceError
            raise error(f"the producer ended with exit code {code}; {self._producer.log_file} ends with:\n{self._producer.tail()}")
        return code is not None

    def newest_warnings(self) -> list[str]:
        """Each worker's newest warning, which is probably why nothing gets on: `processor-1: …`."""
        found = ((child.name, last_lines(child.log_file, 1, lambda line: " WARNING " in line)) for child in self._workers)
        # Without its time: several workers usually say the same.
        texts = {text.partition(" WARNING ")[2]: name for name, text in reversed(list(found)) if " WARNING " in text}
        return [f"{name}: {text}" for text, name in reversed(texts.items())]

    def stop_monitor(self) -> None:
        if self._monitor is not None:
            child_process.stop([self._monitor], STOP_SECONDS)
            self._monitor = None
        self._say.monitor_has_terminal = False

    def stop(self, at_once: bool = False) -> None:
        """Workers first, then monitor and page. at_once: do not let the workers finish what they have in work."""
        if self._monitor is not None and self._say.monitor_has_terminal:
            self._monitor.signal(signal.SIGUSR1)  # the monitor shows that the run is ending; a line printed here would be overwritten
        late = child_process.stop(
            [*self._workers, *([self._producer] if self._producer else [])], 0 if at_once else child_process.DRAIN_SECONDS
        )
        if late and not at_once:
            self._say(f"killed after {child_process.DRAIN_SECONDS:g} s: {', '.join(late)}")
        self.stop_monitor()
        if self._page is not None:
            child_process.stop([self._page], STOP_SECONDS)
