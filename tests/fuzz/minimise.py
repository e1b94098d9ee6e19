"""Chooses few small inputs that together reach whatever all inputs reach."""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import shortener
from tests.fuzz.targets import CORPUS, Check, target

OURS = str(Path(shortener.__file__).parent)
"""Where code comes from whose steps count."""
COUNT_BITS = 4
Step = tuple[int, int, int]
"""A function, and two of its lines that ran one after the other; -1 for an exception."""
Reached = set[tuple[Step, int]]
"""Steps, each with how often it was taken: once, twice, up to 4, up to 8 times or more."""


class Tracer:
    """Counts the steps that our code takes."""

    def __init__(self) -> None:
        self.steps: Counter[Step] = Counter()

    def trace(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        code, last = id(frame.f_code), 0

        def line(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last
            if event == "line":
                self.steps[code, last, frame.f_lineno] += 1
                last = frame.f_lineno
            elif event == "exception":
                self.steps[code, last, -1] += 1
            return line

        return line


def reached_by(check: Check, data: bytes) -> Reached:
    tracer = Tracer()
    sys.settrace(tracer.trace)
    try:
        check(data)
    finally:
        sys.settrace(None)
    return {(step, min(COUNT_BITS, count.bit_length())) for step, count in tracer.steps.items()}


def chosen(check: Check, candidates: list[bytes]) -> list[bytes]:
    """Return inputs that reach all that `candidates` reach."""
    reached = {data: reached_by(check, data) for data in candidates}

    def needed(pool: list[bytes]) -> list[bytes]:
        seen: Reached = set()
        kept = []
        for data in pool:
            if not reached[data] <= seen:
                seen |= reached[data]
                kept.append(data)
        return kept

    small = needed(sorted(candidates, key=lambda data: (len(data), data)))
    return needed(sorted(small, key=lambda data: (-len(reached[data]), len(data), data)))


def minimise(name: str, found: Path) -> None:
    """Replace the corpus of a target, but for the inputs that somebody gave a name in words."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    old = [path for path in sorted(folder.iterdir()) if path.name.isdigit()]
    files = [*old, *(sorted(found.iterdir()) if found.exists() else ())]
    candidates = list({path.read_bytes(): None for path in files})
    with target(name) as check:
        for data in candidates[:20]:
            check(data)  # what is made at first use is no step of an input
        kept = chosen(check, candidates)
    for path in old:
        path.unlink()
    for number, data in enumerate(sorted(kept, key=lambda data: (len(data), data))):
        (folder / f"{number:03d}").write_bytes(data)
    print(f"{name}: {len(kept)} of {len(candidates)} inputs, {sum(map(len, kept))} bytes")  # noqa: T201 - its answer
