"""Sockets that somebody else holds: taken by name or in order, and refused in one clear line."""

import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from shortener.config.loading import ConfigError
from shortener.config.sections import Config, Gateway, Grpc, Redirect
from shortener.errors import OperatorError
from shortener.server import systemd
from shortener.server.sockets import NAMES, bind
from shortener.server.systemd import notify, take_over

FIRST = 200

Hand = Callable[..., dict[str, str]]


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    """Puts copies of sockets where they are handed over, and gives the environment that says so."""
    monkeypatch.setattr(systemd, "HANDED_FIRST", FIRST)
    numbers: list[int] = []

    def give(*files: int, names: str | None = None, count: object = None) -> dict[str, str]:
        for place, file in enumerate(files, FIRST):
            numbers.append(fcntl.fcntl(file, fcntl.F_DUPFD, place))
            assert numbers[-1] == place
        environ = {"LISTEN_FDS": str(len(files) if count is None else count), "LISTEN_PID": str(os.getpid())}
        return environ if names is None else environ | {"LISTEN_FDNAMES": names}

    yield give
    for number in numbers:
        try:
            os.close(number)
        except OSError:  # the test has closed it as a socket
            continue


@pytest.fixture
def five() -> Iterator[list[socket.socket]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    yield sockets
    for each in sockets:
        each.close()


def ports(sockets: dict[str, socket.socket]) -> dict[str, int]:
    found = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return found


@pytest.mark.parametrize("names", [None, "unknown:unknown:unknown:unknown:unknown", ":".join(["shortener.socket"] * 5)])
def test_five_without_names_of_their_own_come_in_order(
    hand: Hand, five: list[socket.socket], names: str | None
) -> None:
    environ = hand(*(each.fileno() for each in five), names=names)
    assert ports(take_over(environ)) == dict(zip(NAMES, (each.getsockname()[1] for each in five), strict=True))
    assert environ == {}


def test_named_ones_come_in_any_order_and_number(hand: Hand, five: list[socket.socket]) -> None:
    environ = hand(five[0].fileno(), five[1].fileno(), names="redirect:gateway")
    taken = take_over(environ)
    assert not any(each.get_inheritable() for each in taken.values())
    config = Config(grpc=Grpc(url_port=0, user_port=0, analytics_port=0))
    with bind(config, taken) as sockets:
        assert sockets.port("redirect") == five[0].getsockname()[1]
        assert sockets.port("gateway") == five[1].getsockname()[1]
        assert list(sockets.by_name) == list(NAMES)


@pytest.mark.parametrize("changed", [{"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": ""}])
def test_what_is_meant_for_another_process_is_left_alone(
    hand: Hand, five: list[socket.socket], changed: dict[str, str]
) -> None:
    assert take_over(hand(*(each.fileno() for each in five)) | changed) == {}


@pytest.mark.parametrize(
    ("count", "names", "line"),
    [
        ("6", None, "cannot take over sockets: LISTEN_FDS must be from 1 to 5, not '6'"),
        ("0", None, "cannot take over sockets: LISTEN_FDS must be from 1 to 5, not '0'"),
        ("-1", None, "cannot take over sockets: LISTEN_FDS must be from 1 to 5, not '-1'"),
        ("two", None, "cannot take over sockets: LISTEN_FDS must be from 1 to 5, not 'two'"),
        ("4", None, "cannot take over sockets: 4 without names, which must be 5"),
        ("2", "gateway", "cannot take over sockets: LISTEN_FDNAMES has 1 names for 2 sockets"),
        ("2", "gateway:gateway", "cannot take over sockets: gateway is given twice"),
        (
            "2",
            "gateway:web",
            "cannot take over sockets: unknown name 'web', not one of url, user, analytics, gateway, redirect",
        ),
    ],
)
def test_wrong_counts_and_names_are_one_line(
    hand: Hand, five: list[socket.socket], count: str, names: str | None, line: str
) -> None:
    environ = hand(*(each.fileno() for each in five), names=names, count=count)
    with pytest.raises(OperatorError, match=f"^{re.escape(line)}$"):
        take_over(environ)


def unlistening() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (unlistening, "it is not a listening TCP socket"),
        (lambda: socket.socket(type=socket.SOCK_DGRAM), "it is not a listening TCP socket"),
        (lambda: socket.socketpair()[0], "it is not a listening TCP socket"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_what_is_no_listening_tcp_socket_is_named(hand: Hand, make: Callable[[], socket.socket], line: str) -> None:
    with make() as wrong:
        environ = hand(wrong.fileno(), names="redirect")
    with pytest.raises(OperatorError, match=f"^cannot take over socket redirect \\(descriptor {FIRST}\\): {line}$"):
        take_over(environ)


def test_what_is_no_socket_at_all_is_named(hand: Hand) -> None:
    with open(os.devnull) as file:
        environ = hand(file.fileno(), names="url")
    with pytest.raises(OperatorError, match=r"^cannot take over socket url \(descriptor 200\): it is not a socket$"):
        take_over(environ)
    os.close(FIRST)
    with pytest.raises(OperatorError, match=r"^cannot take over socket url \(descriptor 200\): Bad file descriptor$"):
        take_over({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "url"})


def test_a_grpc_socket_that_strangers_reach_must_be_secured(hand: Hand) -> None:
    with socket.create_server(("0.0.0.0", 0)) as wide:
        taken = take_over(hand(wide.fileno(), names="user"))
        with pytest.raises(ConfigError, match=r"^\[grpc\] host 0\.0\.0\.0 is not loopback"), bind(Config(), taken):
            raise AssertionError
    assert taken["user"].fileno() == -1


def test_every_ipv6_address_is_every_ipv4_address_too() -> None:
    zero = Grpc(url_port=0, user_port=0, analytics_port=0)
    config = Config(grpc=zero, gateway=Gateway(host="::", port=0), redirect=Redirect(host="::1", port=0))
    with bind(config) as sockets:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, sockets.port("gateway")), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", sockets.port("redirect")), timeout=5)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_hears(tmp_path: object, is_abstract: bool) -> None:
    path = f"@shortener-test-{os.getpid()}" if is_abstract else f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path[1:] if is_abstract else path)
        manager.settimeout(5)
        notify("READY=1", {"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1"
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": f"{tmp_path}/nobody"})
