"""Files that hold personal data: for their owner alone, and there only when they are whole."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self


class OutFile:
    """A text file that appears at `path` when the block ends well, with mode 0600; `-` is standard output.

    What was there before is replaced. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._file = sys.stdout

    def __enter__(self) -> Self:
        if str(self._path) != "-":
            descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        return self

    def write(self, text: str) -> None:
        """Write some text."""
        self._file.write(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is sys.stdout:
            sys.stdout.flush()
            return
        try:
            self._file.close()
            if error is None:
                self._draft.replace(self._path)
        finally:
            self._draft.unlink(missing_ok=True)
