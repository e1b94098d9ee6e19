"""What the operator keeps people from: links to listed hosts, and links in quarantine, by files that may change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from shortener.config.loading import ConfigError
from shortener.config.sections import Links
from shortener.errors import OperatorError
from shortener.links.destination import host_of
from shortener.links.lists.blocklist import Blocklist, read_blocklist, read_codes
from shortener.links.lists.file import ListFile
from shortener.links.lists.hash_set import Fingerprints
from shortener.links.model import Link
from shortener.tasks import cancel, in_thread

log = logging.getLogger(__name__)

T = TypeVar("T")

MEMO_MAX = 10_000
"""Destinations whose verdict is remembered, until the list changes or there are too many."""
MEMO_LENGTH_MAX = 512
"""Longer ones are judged each time, in a few microseconds."""


class Screen:
    """Judges destinations and links by the lists as they are now; a list that is None withholds nothing."""

    def __init__(self, hosts: ListFile[Blocklist] | None, codes: ListFile[Fingerprints] | None) -> None:
        self.hosts = hosts
        self.codes = codes
        self._judged_by: Blocklist | None = None
        self._memo: dict[str, bool] = {}

    def blocks(self, destination: str) -> bool:
        """Tell whether a stored destination leads to a listed host."""
        if self.hosts is None:
            return False
        blocklist = self.hosts.value
        if blocklist is not self._judged_by or len(self._memo) >= MEMO_MAX:
            self._judged_by, self._memo = blocklist, {}
        verdict = self._memo.get(destination)
        if verdict is None:
            verdict = blocklist.blocks(host_of(destination))
            if len(destination) <= MEMO_LENGTH_MAX:
                self._memo[destination] = verdict
        return verdict

    def withholds(self, link: Link) -> bool:
        """Tell whether this link is in quarantine, or leads to a listed host."""
        if self.codes is not None and link.short_code in self.codes.value:
            return True
        return self.blocks(link.destination)


def load_screen(lists: Links) -> Screen | None:
    """Read both lists, named by their files; None when neither is named. Blocks. Raises `ConfigError`."""
    hosts = codes = None
    if lists.blocklist_file:
        read_hosts = partial(read_blocklist, size_max=lists.blocklist_size_max)
        hosts = _named("blocklist_file", lists.blocklist_file, read_hosts)
    if lists.quarantine_file:
        codes = _named(
            "quarantine_file", lists.quarantine_file, partial(read_codes, size_max=lists.quarantine_size_max)
        )
    return Screen(hosts, codes) if hosts or codes else None


def _named(key: str, name: str, read: Callable[[Iterable[str]], T]) -> ListFile[T]:
    try:
        return ListFile(Path(name), read)
    except OperatorError as error:
        raise ConfigError(f"[links] {key} {name}: {error}") from None


@asynccontextmanager
async def followed(screen: Screen, *, every_seconds: float) -> AsyncIterator[None]:
    """Until the block ends, read the files again when they change; they are looked at that often."""
    task = asyncio.create_task(_follow(screen, every_seconds))
    try:
        yield
    finally:
        for each in _files(screen):
            each.stop()
        await cancel(task)


async def _follow(screen: Screen, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await in_thread("lists", partial(_check, screen))
        except Exception:  # a fault of ours must not end the watch: the lists in memory still hold
            log.exception("lists could not be checked")


def _check(screen: Screen) -> None:
    for each in _files(screen):
        each.check()


def _files(screen: Screen) -> list[ListFile[Blocklist] | ListFile[Fingerprints]]:
    return [each for each in (screen.hosts, screen.codes) if each is not None]
