"""Finds regular expressions that early patch releases of Python 3.11 get wrong, Debian 12's own 3.11.2 among them."""

import ast
import re
import warnings
from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from re import _constants, _parser  # type: ignore[attr-defined] # the only reader of Python's own syntax

_WRONG = {_constants.POSSESSIVE_REPEAT, _constants.ATOMIC_GROUP}
_MARKS = re.compile(r"[*+?}]\+|\(\?>")
_SUB_DELIMS = "()*+,;="
_CLASS_OR_ESCAPE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


def wrong_patterns(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each literal with a possessive quantifier or an atomic group.

    Only modules that import `re` are searched. A literal that is no expression by itself, such as a part of one, is
    judged by its text without classes and escapes.
    """
    tree = ast.parse(source)
    if not any(
        isinstance(node, ast.Import) and any(name.name == "re" for name in node.names) for node in ast.walk(tree)
    ):
        return
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        text = _text(node) if id(node) not in inside else None
        if text is not None:
            text = text.replace(_SUB_DELIMS, "")  # a list of characters, not an expression
        if text is not None and _MARKS.search(text) and _is_wrong(text):
            yield node.lineno, text  # type: ignore[attr-defined] # every literal has a line


def _text(node: ast.AST) -> str | None:
    """Return a literal's text, with `(?:x)` for what is put into it; bytes read as Latin-1."""
    if isinstance(node, ast.JoinedStr):
        return "".join((_text(part) or "") if isinstance(part, ast.Constant) else "(?:x)" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    return None


def _is_wrong(text: str) -> bool:
    try:
        return _has_wrong(_parser.parse(text))
    except (re.error, OverflowError):
        return _MARKS.search(_CLASS_OR_ESCAPE.sub("x", text)) is not None


def _has_wrong(part: object) -> bool:
    if isinstance(part, _parser.SubPattern):
        return any(_has_wrong(item) for item in part.data)
    if isinstance(part, tuple | list):
        return any(_has_wrong(item) for item in part)
    return part in _WRONG if isinstance(part, int) else False
