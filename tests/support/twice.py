"""Runs each unit of work of the SQLite writer twice, the first time to no avail, as the contract in `tx.py` allows."""

from typing import TYPE_CHECKING

import pytest

from shortener.storage.sqlite import writer

if TYPE_CHECKING:
    from shortener.storage.sqlite.writer import _Batch, _Unit


def run_units_twice(patch: pytest.MonkeyPatch) -> None:
    """Undo the first run of each unit of work, with what it wanted to happen after the commit."""
    run_once = writer._Batch._run_unit

    def run_twice(batch: "_Batch", unit: "_Unit") -> None:
        raw = batch._raw
        raw.execute("SAVEPOINT first_run")
        writer._Unit(unit.work, unit.done).run(raw)
        if raw.in_transaction:
            raw.execute("ROLLBACK TO first_run")
            raw.execute("RELEASE first_run")
        run_once(batch, unit)

    patch.setattr(writer._Batch, "_run_unit", run_twice)
