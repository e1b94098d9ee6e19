"""Names of countries, from the table that ships with this module."""

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from shortener.analytics.model import UNKNOWN_COUNTRY

_UNKNOWN_NAME = "Unknown"


@functools.cache
def country_names() -> Mapping[str, str]:
    """Return the English name of each ISO 3166-1 alpha-2 code, of `XK` (Kosovo) and of `ZZ` (Unknown)."""
    table = resources.files(__package__).joinpath("data").joinpath("countries.tsv").read_text("utf-8")
    names = dict(line.split("\t") for line in table.splitlines())
    return MappingProxyType({**names, UNKNOWN_COUNTRY: _UNKNOWN_NAME})


def country_name(code: str) -> str:
    """Return the name of a country code, `Unknown` for one that is not in the table."""
    return country_names().get(code, _UNKNOWN_NAME)
