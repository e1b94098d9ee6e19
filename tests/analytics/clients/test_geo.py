"""Places: the shipped table of countries, and databases of the operator, of every shape."""

import hashlib
import threading
from collections.abc import Sequence
from importlib import resources
from ipaddress import ip_address
from pathlib import Path

import maxminddb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.analytics.clients.geo import (
    country_name,
    country_names,
    is_special,
    open_geo,
    place_of,
    unpack_countries,
)
from shortener.analytics.model import CITY_MAX, NOWHERE, Place
from shortener.errors import OperatorError
from tests.support import mmdb

NESTED = {"country": {"iso_code": "GB"}, "city": {"names": {"de": "Londinium", "en": "London"}}}
FLAT = {"country_code": "GB", "city": "London", "timezone": "Europe/London"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the table is unpacked once for all tests here."""
    directory = tmp_path_factory.mktemp("geo")
    unpack_countries(directory)
    return directory


async def places(data_dir: Path, databases: Sequence[Path], *addresses: str) -> list[Place]:
    async with open_geo(data_dir, databases) as geo:
        return [geo.locate(ip_address(address)) for address in addresses]


def written(path: Path, records: dict[str, object], ip_version: int = 6) -> Path:
    path.write_bytes(mmdb.database(records, ip_version=ip_version))
    return path


async def test_countries_are_known_without_any_configuration(data_dir: Path) -> None:
    assert await places(data_dir, [], "8.8.8.8", "193.0.6.139", "2001:4860:4860::8888", "2a02:2e0::1") == [
        Place("US", ""),
        Place("NL", ""),
        Place("US", ""),
        Place("DE", ""),
    ]


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.255.255", "192.0.2.1", "192.168.1.1",
        "198.18.0.1", "203.0.113.5", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1",
        "2001:db8::1", "64:ff9b::1",
    ],
)  # fmt: skip
async def test_private_and_reserved_addresses_are_nowhere(data_dir: Path, address: str) -> None:
    assert await places(data_dir, [], address) == [NOWHERE]


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_special(address: object) -> None:
    if address.is_private or address.is_multicast or address.is_reserved:  # type: ignore[attr-defined] # either version
        exceptions = ("192.0.0.9", "192.0.0.10")  # anycast of two protocols, on nobody's client
        assert is_special(address) or str(address) in exceptions  # type: ignore[arg-type] # as above


@pytest.mark.parametrize("record", [NESTED, FLAT, {"country": "GB", "city": "London"}])
@pytest.mark.parametrize("ip_version", [4, 6])
async def test_cities_come_from_databases_of_either_shape(
    data_dir: Path, tmp_path: Path, record: dict[str, object], ip_version: int
) -> None:
    city = written(tmp_path / "city.mmdb", {"81.2.69.0/24": record}, ip_version)

    found = await places(data_dir, [city], "81.2.69.142", "81.2.70.1", "2001:4860:4860::8888")

    assert found == [Place("GB", "London"), Place("GB", ""), Place("US", "")]


async def test_one_file_for_each_ip_version(data_dir: Path, tmp_path: Path) -> None:
    four = written(tmp_path / "four.mmdb", {"81.2.69.0/24": FLAT}, 4)
    six = written(tmp_path / "six.mmdb", {"2a00::/16": {"country_code": "FR", "city": "Paris"}}, 6)

    assert await places(data_dir, [four, six], "81.2.69.1", "2a00::1") == [Place("GB", "London"), Place("FR", "Paris")]


async def test_the_configured_database_knows_better(data_dir: Path, tmp_path: Path) -> None:
    records: dict[str, object] = {
        "8.8.8.0/24": {"country_code": "CH", "city": "Zürich"},
        "8.8.4.0/24": {"city": "Nameless"},
        "10.0.0.0/8": {"country_code": "DE", "city": "Our office"},
    }
    city = written(tmp_path / "city.mmdb", records)

    assert await places(data_dir, [city], "8.8.8.8", "8.8.4.4", "10.1.1.1", "192.168.1.1") == [
        Place("CH", "Zürich"),
        Place("US", "Nameless"),
        Place("DE", "Our office"),
        NOWHERE,
    ]


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (None, NOWHERE),
        ("text", NOWHERE),
        ({}, NOWHERE),
        ({"country": {"iso_code": 7}, "city": {"names": "x"}}, NOWHERE),
        ({"country": {"names": {"en": "x"}}, "city": {"names": {"de": "x"}}}, NOWHERE),
        ({"country_code": "EU"}, NOWHERE),
        ({"country_code": "AN"}, NOWHERE),
        ({"country_code": "de"}, NOWHERE),
        ({"country_code": "XK", "city": ""}, Place("XK", "")),
        ({"country_code": "DE", "city": "  Bad\nHomburg\x00 v.d.H. "}, Place("DE", "Bad Homburg v.d.H.")),
        ({"country_code": "DE", "city": "x" * 500}, Place("DE", "x" * CITY_MAX)),
    ],
)
def test_records_are_not_trusted(record: object, place: Place) -> None:
    assert place_of(record) == place


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"", "MaxMind"), (b"x" * 100_000, "MaxMind")]
)
async def test_a_database_that_cannot_be_used_is_one_clear_line(
    data_dir: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "city.mmdb"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(OperatorError, match=rf"^cannot use geo database {path}: .*{reason}") as caught:
        await places(data_dir, [path])
    assert "\n" not in str(caught.value)


async def test_a_damaged_database_gives_unknown_places(data_dir: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "city.mmdb", {"81.2.69.0/24": FLAT})
    content = bytearray(path.read_bytes())
    start = content.index(bytes(16)) + 16
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)

    assert await places(data_dir, [path], "81.2.69.142") == [Place("GB", "")]


def test_the_table_is_unpacked_once_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "country-0123456789abcdef.mmdb").write_bytes(b"of an older version")
    first = unpack_countries(tmp_path)
    times = first.stat().st_mtime_ns
    second = unpack_countries(tmp_path)

    assert (second, second.stat().st_mtime_ns) == (first, times)
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    checksum = (
        resources.files("shortener.analytics.clients").joinpath("data").joinpath("country.mmdb.sha256").read_text()
    )
    assert hashlib.sha256(first.read_bytes()).hexdigest() == checksum.strip()


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    path = unpack_countries(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])

    assert unpack_countries(tmp_path) == path
    assert maxminddb.open_database(path).get("8.8.8.8") == {"country_code": "US"}


def test_processes_may_unpack_at_the_same_time(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(unpack_countries(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert list(tmp_path.iterdir()) == [found[0]]


def test_the_fast_reader_is_in_use(data_dir: Path) -> None:
    with maxminddb.open_database(unpack_countries(data_dir)) as reader:
        assert type(reader).__module__.startswith("maxminddb.extension")


def test_every_country_has_a_name() -> None:
    assert len(country_names()) == 249 + 2
    assert [country_name(code) for code in ("DE", "XK", "ZZ", "??")] == ["Germany", "Kosovo", "Unknown", "Unknown"]
    assert all(len(code) == 2 and code.isalpha() and code.isupper() for code in country_names())
    assert len(set(country_names().values())) == len(country_names())
