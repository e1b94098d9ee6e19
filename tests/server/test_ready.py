"""The ready message for people: addresses that can be clicked."""

import os
from pathlib import Path

import pytest

from shortener import __version__
from shortener.server.ready import for_people

ADDRESSES = {
    "url": "127.0.0.1:50051",
    "user": "127.0.0.1:50052",
    "analytics": "127.0.0.1:50053",
    "gateway": "127.0.0.1:8080",
    "redirect": "127.0.0.1:8081",
}


def test_the_ready_message_for_people() -> None:
    assert for_people(ADDRESSES, base_url="http://localhost:8081", data_dir=Path("/srv/data")) == (
        f"shortener {__version__} is ready, process {os.getpid()}; Ctrl-C stops it\n"
        "  short links  http://localhost:8081/\n"
        "  REST API     http://localhost:8080/\n"
        "  gRPC         127.0.0.1:50051; accounts 127.0.0.1:50052, statistics 127.0.0.1:50053\n"
        "  data         /srv/data\n"
    )


@pytest.mark.parametrize(
    ("address", "base_url", "shown"),
    [
        ("0.0.0.0:80", "https://s.example", "https://s.example/  (served at http://localhost:80/)"),
        ("[::]:8081", "http://localhost:8081", "http://localhost:8081/"),
        ("[::1]:8081", "http://localhost:8081", "http://localhost:8081/  (served at http://[::1]:8081/)"),
        ("127.0.0.2:8081", "http://localhost:8081", "http://localhost:8081/  (served at http://127.0.0.2:8081/)"),
        ("192.0.2.7:8081", "http://192.0.2.7:8081", "http://192.0.2.7:8081/"),
    ],
)
def test_where_short_links_are_shown_to_live(address: str, base_url: str, shown: str) -> None:
    text = for_people(ADDRESSES | {"redirect": address}, base_url=base_url, data_dir=Path("data"))
    assert text.splitlines()[1] == f"  short links  {shown}"


def test_a_relative_data_directory_is_shown_whole() -> None:
    text = for_people(ADDRESSES, base_url="http://localhost:8081", data_dir=Path("data"))
    assert text.splitlines()[4] == f"  data         {Path.cwd()}/data"
