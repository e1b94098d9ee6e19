"""Where addresses are, from files on this machine: the shipped table of countries, and the operator's own databases.

Both are of MaxMind's format, and records of both common shapes are understood: nested
(`country.iso_code`, `city.names.en`) and flat (`country_code`, `city`).
"""

import bisect
import contextlib
import functools
import hashlib
import ipaddress
import logging
import lzma
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import maxminddb

from shortener.analytics.model import CITY_MAX, NOWHERE, UNKNOWN_COUNTRY, Address, Place
from shortener.errors import OperatorError
from shortener.observe.log import OncePerSecond
from shortener.storage import files
from shortener.tasks import in_thread

_log = logging.getLogger(__name__)
_DATA = resources.files(__package__).joinpath("data")
_UNKNOWN_NAME = "Unknown"

# Not on the Internet, whatever a table says (IANA's special-purpose registries).
_SPECIAL_V4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
)  # fmt: skip
_SPECIAL_V6 = ("::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1")


@functools.cache
def country_names() -> Mapping[str, str]:
    """Return the English name of each ISO 3166-1 alpha-2 code, of `XK` (Kosovo) and of `ZZ` (Unknown)."""
    table = _DATA.joinpath("countries.tsv").read_text("utf-8")
    names = dict(line.split("\t") for line in table.splitlines())
    return MappingProxyType({**names, UNKNOWN_COUNTRY: _UNKNOWN_NAME})


def country_name(code: str) -> str:
    """Return the name of a country code, `Unknown` for one that is not in the table."""
    return country_names().get(code, _UNKNOWN_NAME)


class _Ranges:
    """A set of networks of one IP version, asked in half a microsecond."""

    def __init__(self, networks: Sequence[str]) -> None:
        parsed = sorted(ipaddress.ip_network(text) for text in networks)
        self._starts = [int(network.network_address) for network in parsed]
        self._ends = [int(network.broadcast_address) for network in parsed]

    def __contains__(self, number: int) -> bool:
        index = bisect.bisect_right(self._starts, number) - 1
        return index >= 0 and number <= self._ends[index]


_SPECIAL = {4: _Ranges(_SPECIAL_V4), 6: _Ranges(_SPECIAL_V6)}


def is_special(address: Address) -> bool:
    """Tell whether an address is private or reserved, so that no table can know where it is."""
    return int(address) in _SPECIAL[address.version]


class FileGeoLocator:
    """`GeoLocator` over open databases; used on one thread. Open it with `open_geo`.

    The operator's databases are asked in the order given, about any address (an office may know its own networks); the
    first that knows a city or country wins, and its country goes before that of the shipped table, so that both agree.
    """

    def __init__(self, countries: maxminddb.Reader, databases: Sequence[maxminddb.Reader]) -> None:
        self._countries = countries
        self._databases = databases
        self._may_log = OncePerSecond()

    def locate(self, address: Address) -> Place:
        """Return where an address is (`GeoLocator`)."""
        for database in self._databases:
            place = self._ask(database, address)
            if place != NOWHERE:
                return place if place.country != UNKNOWN_COUNTRY else Place(self._country(address), place.city)
        return Place(self._country(address), "")

    def _country(self, address: Address) -> str:
        return UNKNOWN_COUNTRY if is_special(address) else self._ask(self._countries, address).country

    def _ask(self, database: maxminddb.Reader, address: Address) -> Place:
        if address.version == 6 and database.metadata().ip_version == 4:
            return NOWHERE
        try:
            return place_of(database.get(address))
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            if self._may_log():
                _log.warning("a geo database is damaged: %s", error)
            return NOWHERE


def place_of(record: object) -> Place:
    """Return the place a database record tells, of either shape; what it does not tell, or wrongly, is unknown."""
    if not isinstance(record, dict):
        return NOWHERE
    country = record.get("country", record.get("country_code"))
    if isinstance(country, dict):
        country = country.get("iso_code")
    city = record.get("city")
    if isinstance(city, dict):
        names = city.get("names")
        city = names.get("en") if isinstance(names, dict) else None
    known = isinstance(country, str) and country in country_names()
    return Place(str(country) if known else UNKNOWN_COUNTRY, _city(city) if isinstance(city, str) else "")


def _city(name: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(printable.split())[:CITY_MAX].rstrip()


@contextlib.asynccontextmanager
async def open_geo(directory: Path, databases: Sequence[Path]) -> AsyncIterator[FileGeoLocator]:
    """Open the shipped table of countries (unpacked once into `directory`) and the operator's `databases`.

    Raises `OperatorError` for a file that is missing or of another format.
    """
    with contextlib.ExitStack() as opened:

        def open_all() -> list[maxminddb.Reader]:
            return [opened.enter_context(open_reader(path)) for path in (unpack_countries(directory), *databases)]

        countries, *others = await in_thread("geo", open_all)
        yield FileGeoLocator(countries, others)


def open_reader(path: Path) -> maxminddb.Reader:
    """Open one database, for whoever closes it. Raises `OperatorError`."""
    try:
        return maxminddb.open_database(path, maxminddb.MODE_AUTO)
    except OSError as error:
        raise OperatorError(f"cannot use geo database {path}: {error.strerror or error}") from None
    except (maxminddb.InvalidDatabaseError, ValueError):
        raise OperatorError(f"cannot use geo database {path}: it is not in MaxMind's format") from None


def unpack_countries(directory: Path) -> Path:
    """Return the path of the shipped table, unpacked into `directory` if it is not there yet. Takes half a second then.

    The file is named after its checksum and put in place all at once, so that processes may do this at the same time.
    Raises `OperatorError`.
    """
    checksum = _DATA.joinpath("country.mmdb.sha256").read_text("ascii").strip()
    path = directory / f"country-{checksum[:16]}.mmdb"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (path.exists() and _sha256(path.read_bytes()) == checksum):
            content = lzma.decompress(_DATA.joinpath("country.mmdb.xz").read_bytes())
            if _sha256(content) != checksum:
                raise OperatorError("the shipped table of countries is damaged; install again")
            with tempfile.TemporaryDirectory(dir=directory, prefix=path.name) as drafts:
                draft = Path(drafts, path.name)
                files.write(draft, content)
                draft.replace(path)
        for old in directory.glob("country-*.mmdb"):
            if old != path:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise OperatorError(f"cannot unpack the table of countries into {directory}: {error.strerror}") from None
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
