"""User agents of known kind, from packages of npm: `npm ci` in this folder brings them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = Path(__file__).parent / "node_modules"
IS_MISSING = not (PACKAGES / "isbot").exists()
MISSING = "the corpora of user agents are not installed: run `npm ci` in tests/agents"

BOTS = "bot"
PHONES = ("smartphone", "phablet", "feature phone")
TABLETS = ("tablet",)


class Sample(NamedTuple):
    """A user agent, and what it is as its corpus says: `bot`, `browser` or one of Matomo's types of devices."""

    corpus: str
    kind: str
    text: str


def samples() -> list[Sample]:
    """Return all samples of the packages."""
    return [*_matomo(), *_crawlers(), *_old_lists()]


def _matomo() -> Iterator[Sample]:
    """Yield the fixtures of Matomo's device detector, as device-detector-js shipped them last."""
    for path in sorted((PACKAGES / "device-detector-js/fixtures/Tests/fixtures").glob("*.json")):
        for entry in json.loads(path.read_text()):
            yield matomo_sample(entry)


def matomo_sample(entry: dict[str, object]) -> Sample:
    """Return the sample in an entry of Matomo's fixtures."""
    device = entry.get("device")
    kind = device.get("type") if isinstance(device, dict) else None
    return Sample("matomo", BOTS if entry.get("bot") else str(kind or "unknown"), str(entry["user_agent"]))


def _crawlers() -> Iterator[Sample]:
    listed = json.loads((PACKAGES / "crawler-user-agents/crawler-user-agents.json").read_text())
    return (Sample("crawler-user-agents", BOTS, text) for entry in listed for text in entry["instances"])


def _old_lists() -> Iterator[Sample]:
    """Yield the two lists that isbot shipped last; the one of browsers has programs and crawlers among them."""
    for name, kind in (("crawlers", BOTS), ("browsers", "browser")):
        for line in (PACKAGES / f"isbot-fixtures/{name}.txt").read_text().splitlines():
            if line.strip():
                yield Sample("isbot", kind, line)
