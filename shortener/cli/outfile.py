"""Files that hold personal data: for their owner alone, and there only when they are whole."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from shortener.storage.files import open_private


@contextmanager
def open_out_file(path: Path) -> Iterator[TextIO]:
    """Lend a text file that appears at `path` when the block ends well, with mode 0600; `-` is standard output.

    What was there before is replaced. Raises OSError.
    """
    if str(path) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(draft, "x", encoding="utf-8", opener=open_private) as file:
        try:
            yield file
            file.close()
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
