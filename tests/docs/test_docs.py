"""The documents are complete and true: keys, commands, error codes, links, and the two lines."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from shortener.cli.program import main
from tests.docs.configuration import tables

ROOT = Path(__file__).parents[2]
# Not docs/contract/: it is kept word for word, with links into the documents it came from.
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "decisions").glob("*.md"),
    ]
)


def test_every_configuration_key_is_documented_with_its_default() -> None:
    assert tables() in (ROOT / "docs" / "configuration.md").read_text()


def test_every_command_is_in_the_readme_or_the_manuals() -> None:
    pages = "\n".join(page.read_text() for page in PAGES)
    missing = [name for name in get_command(main).commands if f"shortener {name}" not in pages]  # type: ignore[attr-defined]
    assert missing == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name != "contract"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return the file and the function of each test that a page names in backquotes; a path without `.py` is a folder.

    "…::test_x" and "…test_x" name a test of the file that was named before.
    """
    found, file = [], ""
    for path, function in re.findall(
        r"`((?:tests/)?[\w/]*\btest_\w+\.py|tests/[\w./]*|…)(?:::)?(\w*)(?:\[\w+\])?`", text
    ):
        file = file if path == "…" else path
        if path != "…" or file.endswith(".py"):
            found.append((file, function))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    missing = []
    for file, function in named_tests(page.read_text()):
        places = [ROOT / file] if file.startswith("tests/") else list((ROOT / "tests").rglob(file))
        if not any(
            place.exists() and re.search(rf"{function}\(", place.read_text() if function else "(") for place in places
        ):
            missing.append((file, function))
    assert missing == []


def test_every_test_of_the_rules_of_http2_exists() -> None:
    text = (ROOT / "docs" / "conformance-http2.md").read_text()
    defined = " ".join(
        re.findall(r"def (test_\w+)", "".join(path.read_text() for path in (ROOT / "tests" / "rpc").rglob("test_*.py")))
    )
    named = re.findall(r"`(?:…|(?=test_))([a-z]\w*_\w*)…?`", text)
    files = {path.stem for path in (ROOT / "tests" / "rpc").rglob("test_*.py")}
    assert len(named) > 50
    assert [name for name in named if name not in defined and name not in files] == []


def test_the_tests_that_a_page_names_are_found() -> None:
    text = "`test_kill.py::test_a[sync]`, `…::test_b`, `…its_end`, `tests/warm.py`, `tests/analytics`, `x.py`"
    assert named_tests(text) == [
        ("test_kill.py", "test_a"),
        ("test_kill.py", "test_b"),
        ("test_kill.py", "its_end"),
        ("tests/warm.py", ""),
        ("tests/analytics", ""),
    ]


def test_ci_runs_the_readmes_test_line_and_nothing_else_on_the_distributions_python_and_another() -> None:
    [_, test_line] = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    printed = subprocess.run(
        [ROOT / ".ci" / "run", "--print"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    pythons = [line.split(maxsplit=1)[0] for line in printed]
    places = [line.split()[3] for line in printed]
    assert len(set(pythons)) == len(set(places)) == len(printed) in (1, 2)
    for line, python, place in zip(printed, pythons, places, strict=True):
        assert line == test_line.replace(".venv", place).replace("python3", python, 1)
        assert not Path(place).is_relative_to(ROOT)
    own = Path("/usr/bin/python3")
    if own.exists() and (own.resolve().name >= "python3.11"):
        assert pythons[0] == str(own)


def test_the_run_line_installs_what_is_pinned() -> None:
    [run_line, _] = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    steps = [shlex.split(step) for step in run_line.split("&&")]
    assert steps[1][-2:] == ["-r", "requirements.lock"]
    assert steps[-1] == [".venv/bin/shortener", "serve"]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_pinned_package_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    pins = re.findall(
        r"^(\S+==\S+)(?: ; [^\\\n]*[^\\\n ])?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)?", text, re.MULTILINE
    )
    assert len(pins) > 20
    assert [name for name, hashes in pins if not hashes] == []
    assert "://" not in text


def test_every_error_code_is_in_the_contract_or_its_decisions() -> None:
    from shortener.errors import Code
    from shortener.net.statuses import TABLE

    assert set(TABLE) == set(Code)


def test_the_embedding_example_runs(tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(import asyncio\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert re.fullmatch(r"http://localhost:8081/[A-Za-z0-9]{7}\n", done.stdout)
    assert (tmp_path / "my-data" / "shortener.db").exists()
