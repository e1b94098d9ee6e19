"""The rules that machines keep: style, types, and who may import whom."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.regexes import wrong_patterns

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",)],
    ids=" ".join,
)
def test_the_rules_are_kept(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_expression_depends_on_the_interpreters_patch_release() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for folder in ("shortener", "tests")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, text in wrong_patterns(file.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("literal", "is_wrong"),
    [
        ('r"a*{}"', True),
        ('rb"a+{}"', True),
        ('r"a?{}"', True),
        ('r"[a-z]{{2,3}}{}"', True),
        ('r"(?:ab|c)*{}"', True),
        ('rb")*{}"', True),
        ('rf"(?:{{x}})*{}"', True),
        ('rf"{{x}}{{{{2}}}}{}"', True),
        ('r"[a*{}]"', False),
        ('r"a\\*{}"', False),
        ('rb")[*{}]"', False),
        ('"a b*c"', False),
    ],
)
def test_what_is_wrong_in_early_python_3_11_is_found(literal: str, is_wrong: bool) -> None:
    source = "import re\nX = " + literal.format("+")
    assert [line for line, _ in wrong_patterns(source)] == [2] * is_wrong
    assert list(wrong_patterns(source.replace("import re", "import os"))) == []


def test_an_atomic_group_is_found() -> None:
    assert list(wrong_patterns('import re\n\nX = "(?' + '>ab)"')) == [(3, "(?" + ">ab)")]
