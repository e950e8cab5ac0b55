"""What a run must do: its regions and bands, and which of them are not sent yet. Stored in `pipeline_run`, and resumed from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from config import Settings
from config.values import LOCAL
from launch.bands import Converter
from pipeline.broker import clients, dialect
from pipeline.errors import ServiceError
from pipeline.process.arguments import region_names
from pipeline.ratios import site_check
from pipeline.runs.account import Account
from pipeline.runs.account_reader import Tally
from pipeline.storage import database, rows, run_table
from pipeline.wire import messages
from pipeline.wire.market_cap import format_market_cap
from pipeline.wire.regions import AskedBand, RegionBand

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """The tasks of one run.

    names: region code → name, in order. asked: the bands as the user gave them. tasks: the same bands in the regions' own
    currencies. unsent: the tasks that the run's producer must send.
    """

    run_id: str
    names: dict[str, str]
    asked: tuple[AskedBand, ...]
    tasks: tuple[RegionBand, ...] = ()
    unsent: tuple[RegionBand, ...] = ()

    @classmethod
    def of(cls, asked: Sequence[AskedBand], usual: Sequence[dict[str, str]]) -> Plan:
        """The plan of a new run. `usual` are default regions with the user's names for them."""
        return cls(messages.new_run_id(), region_names((band.code for band in asked), usual), tuple(dict.fromkeys(asked)))

    def converted(self, converter: Converter) -> Plan:
        """This plan with its tasks, at today's exchange rates. Raises ServiceError if a rate is missing."""
        # Bands that are equal in the region's own currency are one task.
        bands = {band[:3]: band for band in reversed(converter.bands(self.asked))}
        tasks = tuple(reversed(bands.values()))
        return replace(self, tasks=tasks, unsent=tasks)

    def __str__(self) -> str:
        bands = {f"{format_market_cap(band.low)} to {format_market_cap(band.high)} {band.currency}" for band in self.asked}
        band = f"market cap {bands.pop()}" if len(bands) == 1 else "a band per task"
        return f"run {self.run_id}: {','.join(self.names)}, {band.replace(LOCAL, 'in local currency')}"


def close_finished_runs(settings: Settings, say: Say) -> None:
    """Close the runs of separate scripts if nothing of them is pending. The scripts can't, because none of them sees a run's end.

    Raises ServiceError if the topics can't be read, or the database can't be used.
    """
    # No connection is held while the topics are read: the server, or what stands before it, may end one that is idle.
    with database.connected(settings.database) as connection:
        run_ids = run_table.runs_without_a_plan(connection)
    for run_id in run_ids:
        account = _account(settings, run_id)
        if account is None or account.pending or not account.scraping.tasks:
            continue
        summary = account.summary(account.elapsed_seconds(time.time()))
        ended = datetime.fromisoformat(account.last_result_at) if account.last_result_at else datetime.now(timezone.utc)
        with database.connected(settings.database) as connection:
            run_table.finish_run(connection, run_id, "failed" if account.failed else "completed", summary, ended)
        say(f"run {run_id} of separate scripts is done: {account.finished} tasks, {account.failed} failed")


def _account(settings: Settings, run_id: str) -> Account | None:
    """The tally of a run as of now; None if the topics have nothing of it. Raises ServiceError if they can't be read."""
    tally = Tally(settings.kafka, run_id)
    try:
        with clients.reaching(settings.kafka):
            if not tally.read_to_now():
                raise ServiceError(f"the topics could not be read to their end for run {run_id}: try again")
        return tally.newest()
    finally:
        tally.close()


def open_run(connection: Any, plan: Plan, keep_others: bool, say: Say) -> None:
    """Write the run into `pipeline_run`. Give up older unfinished runs, unless `keep_others`."""
    if not keep_others:
        given_up = run_table.abandon_unfinished_runs(connection, plan.run_id)
        if given_up:
            say(f"given up for this run: {', '.join(given_up)} (--keep-others lets them go on, --resume continues the newest)")
    bounds = [bound for band in plan.asked for bound in (band.low, band.high)]
    run = run_table.Run(plan.run_id, tuple(plan.names), min(bounds, default=None), max(bounds, default=None), plan.tasks)
    rows.write(connection, [rows.Write(countries=plan.names, runs=[run])])


def resumed(connection: Any, plan: Plan, settings: Settings, usual: Sequence[dict[str, str]], was_told: bool, say: Say) -> Plan | None:
    """The plan of the newest unfinished run, with the rates of its day, or None if there is none to resume. `plan`: this command's.

    `usual` are the default regions with the user's names for them. `was_told`: whether this command names regions or bands.
    Raises ServiceError if the missing part of that run is unknown, or if Kafka can't be read.
    """
    run = run_table.newest_unfinished_run(connection)
    if run is None:
        say("no unfinished run to resume; starting a new run")
        return None
    if not dialect.of(settings.kafka).keeps_messages:
        say(f"run {run.run_id} can't be resumed: the embedded broker kept none of its messages; starting a new run")
        return None
    asked = tuple(dict.fromkeys(task.asked for task in run.tasks))
    if was_told and set(plan.asked) != set(asked):
        say(f"run {run.run_id} continues with its own regions and bands, which differ from this command's")
    account = _account(settings, run.run_id) or Account(run.run_id)
    say(f"resuming {run.run_id}: {account.finished} tasks are done, {account.pending} are pending")
    names = region_names([task.code for task in run.tasks] or run.regions, usual)
    return Plan(run.run_id, names, asked, run.tasks, _unsent(run, account))


def _unsent(run: run_table.Run, account: Account) -> tuple[RegionBand, ...]:
    # Compare by task_id, which identifies a task. The halves of a split band are among the sent tasks too.
    sent = account.scraping.tasks
    unsent = tuple(task for task in run.tasks if messages.ScrapingTask(run.run_id, task.code, "", *task[1:3]).task_id not in sent)
    unknown = set(run.regions) - {task.code for task in run.tasks} - {task.region for task in sent.values()}
    if unknown:
        raise ServiceError(
            f"run {run.run_id} can't be resumed: no task was sent for {', '.join(sorted(unknown))}, and their bands are not known, "
            "because an older version started the run. Start a new run without --resume"
        )
    return unsent


def close_run(settings: Settings, run_id: str, status: str, summary: dict[str, Any]) -> site_check.SiteCheck:
    """Compare the run's ratios with the site's own, add the result to `summary`, and write it into `pipeline_run`.

    Raises ServiceError if the database is away or refuses it.
    """
    with database.connected(settings.database) as connection:
        site = site_check.check(run_table.trailing_rows(connection, run_id))
        summary["site_check"] = site.summary()
        run_table.finish_run(connection, run_id, status, summary, datetime.now(timezone.utc))
    return site
