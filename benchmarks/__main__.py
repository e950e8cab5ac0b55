"""`python -m benchmarks`: measures the pipeline on the local market, at 100 ms per request and 1 s per page.

    python -m benchmarks                       all parts but allowance, about ten minutes on two cores
    python -m benchmarks --json                the last line of standard output is one JSON object
    python -m benchmarks --only processing --stocks 300
    python -m benchmarks --only memory --memory-tasks 4000
    python -m benchmarks --only allowance      how well the site's allowance is learned and used; 25 minutes

What the figures mean and what they were: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from typing import Any

from benchmarks.parts import PARTS, USUAL
from pipeline.broker import clients

#: Key → (what it is, the aim).
TABLE = {
    "speedup_vs_sequential": ("whole pipeline over a sequential program", ">= 60"),
    "processing_speedup_vs_sequential": ("processing stage over a sequential loop", ">= 100"),
    "efficiency_vs_bare_fetch": ("processing stage over a bare loop of the same fetches", ">= 0.9"),
    "efficiency_vs_three_requests": ("processing stage over a bare loop that asks for everything", ""),
    "requests_per_stock": ("requests per stock on a first run", "<= 2.1"),
    "night_stocks_per_second": ("stocks per second on a night on which only prices move", ""),
    "night_growth_percent": ("growth of the database on a night, in percent", ""),
    "recompute_stocks_per_second": ("stocks per second of recompute_ratios.py", ">= 500"),
    "scaling": ("1, 2, 4, 8 processing consumers, site at 400 ms", "8: >= 7"),
    "one_region_seconds": ("seconds in which 1, 2, 4 browsers list a region of 1,000", ""),
    "memory_growth": ("peak memory at all tasks over a tenth of them", "<= 1.05"),
    "broker_messages_per_second": ("messages per second, sent and read back", ""),
    "rows_per_second": ("rows per second, upserted by one connection", ""),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the last line of standard output is the result as one JSON object")
    parser.add_argument("--only", metavar="PART,…", default=",".join(USUAL), help=f"of {', '.join(PARTS)} (default all but allowance)")
    parser.add_argument("--stocks", type=int, default=1000, metavar="N", help="of whole, processing and sequential (default 1000)")
    parser.add_argument("--night-stocks", type=int, default=5000, metavar="N", help="of nights (default 5000)")
    parser.add_argument("--sample", type=int, default=30, metavar="N", help="stocks that the sequential program processes (default 30)")
    parser.add_argument("--repeat", type=int, default=4, metavar="N", help="turns of bare loop and processing; the best counts (default 4)")
    parser.add_argument("--region-stocks", type=int, default=1000, metavar="N", help="stocks of the one region (default 1000)")
    parser.add_argument("--memory-tasks", type=int, default=20_000, metavar="N", help="tasks in the end (default 20000)")
    parser.add_argument("--messages", type=int, default=50_000, metavar="N", help="messages of carriers (default 50000)")
    arguments = parser.parse_args()
    arguments.parts = [part.strip() for part in arguments.only.split(",") if part.strip()]
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"--only {', '.join(unknown)}: expected one of {', '.join(PARTS)}")
    return arguments


def derive(found: dict[str, Any]) -> dict[str, Any]:
    """Add the figures that compare two parts, if both were run."""
    for key, one, other in (
        ("speedup_vs_sequential", "pipeline_stocks_per_second", "sequential_stocks_per_second"),
        ("processing_speedup_vs_sequential", "processing_stocks_per_second", "sequential_processing_stocks_per_second"),
    ):
        if one in found and other in found:
            found[key] = found[one] / found[other]
    return found


def rounded(value: Any) -> Any:
    """Four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def table(found: dict[str, Any]) -> str:
    lines = []
    for key, (meaning, aim) in TABLE.items():
        value = found.get(key)
        text = (
            ", ".join(f"{count}: {one:.2f}" for count, one in value.items())
            if isinstance(value, dict)
            else f"{value:,.4g}"
            if value
            else "-"
        )
        lines.append(f"{key:34}{text:>34}  {aim:10}{meaning}")
    return "\n".join(lines)


def main() -> int:
    options = parse_arguments()
    clients.quiet()
    found: dict[str, Any] = {}
    began = time.monotonic()
    for part in options.parts:
        load = os.getloadavg()[0]
        print(f"-- {part} (load of the machine before it: {load:.1f})", file=sys.stderr, flush=True)
        found |= PARTS[part](options)
        found.setdefault("load_before", {})[part] = load
    found |= {"cores": os.cpu_count(), "python": platform.python_version(), "elapsed_seconds": time.monotonic() - began}
    result = rounded(derive(found))
    print(table(result), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
