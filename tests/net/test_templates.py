"""Pages from templates: everything is escaped, and nothing is left out in silence."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from shortener.net.templates import render


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"pages_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / name / "templates"
    folder.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (folder / "page.html").write_text('{% if name %}\n<p title="{{ name }}">{{ {"a": name}|json }}</p>\n{% endif %}\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_values_are_escaped_wherever_they_stand(package: str) -> None:
    shown = '<p title="&lt;i&gt; &#34;&#39;&amp;">{&#34;a&#34;:&#34;&lt;i&gt; \\&#34;&#39;&amp;&#34;}</p>\n'
    assert render(package, "page.html", name="<i> \"'&") == shown


def test_a_value_that_is_not_given_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="name"):
        render(package, "page.html")
