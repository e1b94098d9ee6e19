"""The readers that are fuzzed: one module each, with a `target()` that opens a function from bytes to nothing."""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

Check = Callable[[bytes], None]
"""Raises when what a reader does with these bytes is wrong."""

NAMES = ("frames", "hpack", "connection", "protobuf", "json", "head", "journal", "destination")
CORPUS = Path(__file__).parent / "corpus"


def target(name: str) -> AbstractContextManager[Check]:
    """Return the context manager that opens a target; only its own module is imported."""
    module = importlib.import_module(f"tests.fuzz.{name}_target")
    return cast("AbstractContextManager[Check]", module.target())


def inputs(name: str) -> list[bytes]:
    """Return the kept inputs of a target, in a stable order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
