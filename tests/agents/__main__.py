"""How well user agents are understood.

python -m tests.agents            prints the table of docs/statistics.md
python -m tests.agents DIRECTORY  the same, of Matomo's fixtures as YAML (in `device_detector`'s source on PyPI, say)
python -m tests.agents refresh    writes the list of bots that is shipped anew, from the installed isbot
"""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import yaml

from shortener.analytics.clients.user_agent import UserAgents
from tests.agents.corpora import PACKAGES, Sample, matomo_sample, samples

LIST = Path(__file__).parents[2] / "shortener/analytics/clients/data/bots.txt"
COLUMNS = ("mobile", "tablet", "desktop", "other", "bot")
# What judges the shape of a text alone: televisions, phones and programs of the desktop have these shapes too.
LEFT_OUT = {r"\b\w+/1\.0;", "^[^ ]{50,}$", r"\|", r"\(\)", r"^[<\(;]", "chromeframe", "server"}
BEFORE_WORD = re.compile(r"(?:\(\?<!([^()]*)\)|\\b)([a-z]+(?![?*+{])|[a-z]+(?=[a-z]))(.*)")


def confusion(found: list[Sample]) -> dict[tuple[str, str], Counter[str]]:
    """Return what the samples of each corpus and kind were taken for."""
    parse = UserAgents(size_max=2)
    table: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for corpus, kind, text in found:
        agent = parse(text)
        table[corpus, kind]["bot" if agent.bot else agent.device.value] += 1
    return dict(table)


def print_table(found: list[Sample]) -> None:
    print("| corpus | what it is | samples |", " | ".join(COLUMNS), "|\n|---|---|---|" + "---|" * len(COLUMNS))  # noqa: T201 - a command's output
    for (corpus, kind), counts in sorted(confusion(found).items(), key=lambda item: (item[0][0], -item[1].total())):
        print(f"| {corpus} | {kind} | {counts.total()} |", " | ".join(str(counts[name]) for name in COLUMNS), "|")  # noqa: T201 - as above


def python_pattern(pattern: str) -> str:
    """Return a pattern of JavaScript as one of Python, with what must not stand before its first word behind it.

    A look-behind of Python has one length, and an expression is fast where all its alternatives begin with a letter.
    """
    pattern = pattern.replace(r"[\w\d-.]", r"[\w\d.-]").replace("(?:^|[^g])", "(?<!g)")
    found = BEFORE_WORD.fullmatch(pattern)
    if found is None:
        return pattern
    unlike, word, rest = found.groups()
    texts = unlike.split("|") if unlike else [r"\w"]
    return word + "".join(f"(?<!{text}{word})" for text in texts) + rest


def refresh() -> None:
    """Write the list of bots anew."""
    version = json.loads((PACKAGES / "isbot/package.json").read_text())["version"]
    script = "import('isbot').then((isbot) => console.log(JSON.stringify(isbot.list)))"
    done = subprocess.run(["node", "-e", script], cwd=PACKAGES.parent, capture_output=True, text=True, check=True)
    patterns = [python_pattern(pattern) for pattern in json.loads(done.stdout) if pattern not in LEFT_OUT]
    head = (
        f"# isbot {version}, https://github.com/omrilotan/isbot (Unlicense); made by `python -m tests.agents refresh`"
    )
    LIST.write_text("\n".join([head, *patterns, ""]))


def main(arguments: list[str]) -> None:
    if arguments == ["refresh"]:
        refresh()
    elif arguments:
        paths = sorted(Path(arguments[0]).glob("*.yml"))
        print_table([matomo_sample(entry) for path in paths for entry in yaml.safe_load(path.read_text())])
    else:
        print_table(samples())


if __name__ == "__main__":
    main(sys.argv[1:])
