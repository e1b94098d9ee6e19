"""HTML pages made of Jinja2 templates, which lie in the folder `templates` beside the code that answers with them."""

import functools
import json

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(package: str, template: str, /, **values: object) -> str:
    """Return the page of a package's template. Every value is escaped, and a missing one is an error."""
    return _environment(package).get_template(template).render(values)


@functools.cache
def _environment(package: str) -> Environment:
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["json"] = _as_json
    return made


def _as_json(value: object, indent: int | None = None) -> str:
    """Return a value as JSON for people, without blanks unless it is indented."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
