"""The benchmark: our service beside its peers, on this machine, in turn.

    python -m tests.bench [--quick] [--only NAME ...] [--json FILE] [--cache FOLDER]

Every server has one core and the load generator (wrk, h2load) another. Rounds are interleaved; medians are printed, and
ratios of the median round. Counts are checked afterwards: a click or a call that was lost or doubled makes the
run a failure. The exit status is 1 then, and when a bound of the table is missed.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import calls, machine, redirects, report, states
from tests.bench.bench import FULL, NOISY, NOISY_BELOW_US, QUICK, Bench

ROWS: dict[str, Callable[[Bench], None]] = {
    "redirect-hot": redirects.hot,
    "get-url": calls.get_url,
    "create-url": calls.create_url,
    "create-qr": calls.create_with_qr,
    "redirect-cold": redirects.cold,
    "stats": states.statistics,
    "memory": states.memory,
    "start": states.start,
    "redirect-latency": redirects.latency,
    "get-url-latency": calls.latency,
    "soak": states.soak,
}
ON_REQUEST = {"soak"}
PROGRAMS = ("wrk", "h2load", "nginx", "taskset")


def say(text: str) -> None:
    """Tell how it goes, on standard error."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def main() -> None:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: does it run at all")
    parser.add_argument("--only", action="append", choices=ROWS, help="this row; may be given again")
    parser.add_argument(
        "--json", type=Path, help="write everything there too; - for standard output instead of the table"
    )
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shortener-bench"
    parser.add_argument("--cache", type=Path, default=home, help="where data sets are kept (default: %(default)s)")
    parser.add_argument(
        "--nice",
        type=int,
        default=0,
        help="for all that is measured; below 0 needs root, and helps where others use the machine",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    machine.take_priority(options.nice)
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        sys.exit(f"error: not installed: {', '.join(missing)}")
    options.cache.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.cache, prefix="run-") as scratch:
        bench = Bench(
            QUICK if options.quick else FULL,
            options.cache,
            Path(scratch),
            say,
            NOISY_BELOW_US if options.nice < 0 else NOISY,
        )
        found = machine.describe(options.cache)
        for name in options.only or [name for name in ROWS if name not in ON_REQUEST]:
            say(name)
            try:
                ROWS[name](bench)
            except Exception as error:  # noqa: BLE001 - one row's fault must not hide the others' figures
                faults.append(f"{name}: {type(error).__name__}: {str(error).strip()[-500:]}")
                say(faults[-1])
    result = report.as_json(found, bench.rows, faults)
    _write(options.json, result, report.table(bench.rows))
    for fault in [*faults, *report.missed(bench.rows)]:
        say(f"FAILED {fault}")
    sys.exit(0 if result["met"] else 1)


def _write(path: Path | None, result: dict[str, object], table: str) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    if path is not None:
        path.write_text(text)
    sys.stdout.write(f"{json.dumps(result['machine'])}\n\n{table}\n")


if __name__ == "__main__":
    main()
