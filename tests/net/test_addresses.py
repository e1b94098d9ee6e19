import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.net.addresses import ClientAddresses

PROXIES = ("10.0.0.0/8", "2001:db8::/32", "127.0.0.1")


def client(peer: str, *forwarded: str, proxies: tuple[str, ...] = PROXIES) -> str:
    return ClientAddresses(proxies, memo_max=8).client(peer, forwarded)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1, 203.0.113.9, 10.1.2.3",), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1", "203.0.113.9,\t10.1.2.3"), "203.0.113.9"),
        ("127.0.0.1", ("10.1.1.1, 10.2.2.2",), "10.1.1.1"),
        ("203.0.113.50", ("198.51.100.1",), "203.0.113.50"),
        ("::ffff:127.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("2001:db8::1", ("2001:4860::8888",), "2001:4860::8888"),
        ("127.0.0.1", ("::ffff:203.0.113.9",), "203.0.113.9"),
        ("127.0.0.1", ("203.0.113.9:4711",), "203.0.113.9"),
        ("127.0.0.1", ("[2001:4860::8888]:4711",), "2001:4860::8888"),
        ("127.0.0.1", ("nonsense",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, nonsense",), "127.0.0.1"),
        ("127.0.0.1", ("nonsense, 203.0.113.9",), "203.0.113.9"),
        ("127.0.0.1", ("203.0.113.9,",), "127.0.0.1"),
        ("127.0.0.1", ("",), "127.0.0.1"),
        ("127.0.0.1", ("unknown",), "127.0.0.1"),
        ("127.0.0.1", ("٢٠٣.0.113.9",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, " + "10.0.0.1, " * 40 + "10.0.0.1",), "10.0.0.1"),
        ("", ("203.0.113.9",), ""),
    ],
)
def test_client_is_the_right_most_untrusted_hop(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    assert client(peer, *forwarded) == expected


def test_without_proxies_nobody_is_believed() -> None:
    assert client("127.0.0.1", "203.0.113.9", proxies=()) == "127.0.0.1"


def test_the_same_header_from_another_peer_is_another_question() -> None:
    addresses = ClientAddresses(PROXIES, memo_max=8)
    assert addresses.client("127.0.0.1", ("203.0.113.9",)) == "203.0.113.9"
    assert addresses.client("203.0.113.50", ("203.0.113.9",)) == "203.0.113.50"


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"proxy\.example"):
        ClientAddresses(("proxy.example",), memo_max=8)


@given(st.lists(st.text(max_size=60) | st.sampled_from(["10.0.0.1", "203.0.113.9", "[::1", "::1]", "1:2"]), max_size=6))
def test_no_header_raises(forwarded: list[str]) -> None:
    assert client("127.0.0.1", *forwarded)
