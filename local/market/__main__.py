"""`python -m local.market`: the local market alone."""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

EXIT_PORT_TAKEN = EXIT_NOT_INSTALLED = 3

try:
    from aiohttp import web

    from local.market import allowance, faults, page_switches, replay
    from local.market.companies import build_market
    from local.market.page import MENUS
    from local.market.regions import LAST_DAY
    from local.market.server import HOST, Server
    from pipeline.process.arguments import Parser, whole
    from pipeline.process.script import run_script
except ModuleNotFoundError as error:
    print(f"the local market needs {error.name}: pip install -r requirements-local.txt", file=sys.stderr)
    sys.exit(EXIT_NOT_INSTALLED)


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:20}{meaning}" for name, meaning in faults.FAULTS.items())
    switches = "\n".join(f"  {name:20}{switch.meaning} ({switch.expected()})" for name, switch in page_switches.SWITCHES.items())
    parser = Parser(
        prog="python -m local.market",
        description="A stand-in for Yahoo Finance on loopback: screener page and JSON endpoints, made-up companies only.",
        epilog=f"faults (name=rate, rate from 0 to 1):\n{listed}\n\n"
        f"switches of the page (name=value; the first of the values in parentheses is the default):\n{switches}\n\n"
        "example:\n  python -m local.market --port 8099 --latency-ms 100 --faults http500=0.1,rate_limit=0.05\n\n"
        'at run time: POST /market/faults {"http500": 0.1} replaces the rates, POST /market/page the switches;\n'
        "GET /market/counts, /market/companies;\n"
        'POST /market/allowance ["600/60"] replaces the allowance; GET /market/stats: requests answered and refused\n'
        "GET /market/events?day=N: which companies report, split or restate on a day",
    )
    parser.add_argument("--port", type=whole(0, 65535), default=8099, help="0 takes any free one (default 8099)")
    parser.add_argument(
        "--stocks", type=whole(1, 20_000), default=300, help="companies between 300M and 2B in the five regions (default 300)"
    )
    parser.add_argument("--seed", type=whole(-(10**9), 10**9), default=1, help="another seed makes other companies (default 1)")
    parser.add_argument(
        "--day", type=whole(0, LAST_DAY), default=0, metavar="N", help="as it is N days later: prices, reports, splits (default 0)"
    )
    parser.add_argument("--latency-ms", type=whole(0, 600_000), default=0, help="wait before each JSON answer (default 0)")
    parser.add_argument("--page-latency-ms", type=whole(0, 600_000), default=0, help="wait before each set of rows of the page (default 0)")
    parser.add_argument("--faults", type=_rates, default={}, metavar="NAME=RATE,…", help="what goes wrong, and how often (default nothing)")
    parser.add_argument(
        "--allowance",
        type=_limit,
        action="append",
        default=[],
        metavar="N/SECONDS",
        help="refuse more than N requests in any so many seconds, such as 600/60; repeatable (default: none is refused)",
    )
    parser.add_argument(
        "--menu", choices=MENUS, default="alternate", help="filter menu of the page; alternate: 1 and 2 in turn, by page load"
    )
    parser.add_argument("--page", type=_switches, default={}, metavar="NAME=VALUE,…", help="switches of the page, see below (default none)")
    parser.add_argument("--replay", type=Path, metavar="DIR", help="serve what a script's --record DIR has recorded, and nothing else")
    return parser


def _rates(text: str) -> dict[str, float]:
    try:
        return faults.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _switches(text: str) -> dict[str, Any]:
    try:
        return page_switches.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _limit(text: str) -> allowance.Limit:
    try:
        return allowance.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _run(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if arguments.replay is not None:
        return await _replay(arguments, stop)
    market = build_market(arguments.stocks, arguments.seed, arguments.day)
    server = Server(
        market,
        faults.Faults(arguments.faults, arguments.seed),
        arguments.latency_ms,
        arguments.page_latency_ms,
        arguments.menu,
        arguments.allowance,
        arguments.page,
    )
    try:
        port = await server.start(arguments.port)
    except OSError as error:
        print(
            f"local market: cannot listen on {HOST}:{arguments.port} ({os.strerror(error.errno or 0)}); choose another --port",
            file=sys.stderr,
        )
        return EXIT_PORT_TAKEN
    made = f"{len(market.companies)} made-up companies, seed {arguments.seed}, day {market.today}"
    # launch.services reads address and day from this line.
    print(f"local market: http://{HOST}:{port} ({made})", flush=True)
    await stop.wait()
    await server.stop()
    return 0


async def _replay(arguments: argparse.Namespace, stop: asyncio.Event) -> int:
    try:
        found = replay.Replay(arguments.replay)
        runner = web.AppRunner(found.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, arguments.port).start()
    except (OSError, ValueError, KeyError) as error:
        print(f"local market: {error}", file=sys.stderr)
        return EXIT_PORT_TAKEN
    print(f"local market: http://{HOST}:{runner.addresses[0][1]} ({found.count} recorded exchanges)", flush=True)
    await stop.wait()
    await runner.cleanup()
    return 0


def main() -> int:
    return asyncio.run(_run(_parser().parse_args()))


if __name__ == "__main__":
    run_script(main)
