"""What a service manager and this process tell each other: sockets that it hands over, and states that it hears."""

import os
import socket
import stat
from collections.abc import Mapping, MutableMapping
from contextlib import ExitStack, suppress

from shortener.errors import OperatorError
from shortener.server.sockets import NAMES

HANDED_FIRST = 3
"""The number of the first descriptor that is handed over (sd_listen_fds(3))."""


def take_over(environ: MutableMapping[str, str]) -> dict[str, socket.socket]:
    """Return the listening sockets that the starter of this process handed over, by name; {} when there are none.

    As sd_listen_fds(3) has it: descriptors from 3 on, `LISTEN_FDS` of them for the process `LISTEN_PID`, named by
    `LISTEN_FDNAMES`. One name for all of them, or none, means all five in the order of `NAMES`. The variables are
    removed, so that no other program takes the sockets for its own. Raises `OperatorError`.
    """
    count, pid, names = (environ.pop(key, "") for key in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count:
        return {}
    if not count.isascii() or not count.isdigit() or not 0 < int(count) <= len(NAMES):
        raise OperatorError(f"cannot take over sockets: LISTEN_FDS must be from 1 to {len(NAMES)}, not {count!r:.20}")
    with ExitStack() as stack:
        numbers = range(HANDED_FIRST, HANDED_FIRST + int(count))
        taken = {
            name: stack.enter_context(_handed(number, name))
            for number, name in zip(numbers, _handed_names(names, int(count)), strict=True)
        }
        stack.pop_all()
    return taken


def _handed_names(text: str, count: int) -> tuple[str, ...]:
    names = tuple(text.split(":")) if text else ("unknown",) * count
    if len(names) != count:
        raise OperatorError(f"cannot take over sockets: LISTEN_FDNAMES has {len(names)} names for {count} sockets")
    if len(set(names)) == 1 and names[0] not in NAMES:  # the name of one systemd unit that lists them all
        if count != len(NAMES):
            raise OperatorError(f"cannot take over sockets: {count} without names, which must be {len(NAMES)}")
        return NAMES
    for name in names:
        if name not in NAMES:
            raise OperatorError(f"cannot take over sockets: unknown name {name!r:.40}, not one of {', '.join(NAMES)}")
        if names.count(name) > 1:
            raise OperatorError(f"cannot take over sockets: {name} is given twice")
    return names


def _handed(number: int, name: str) -> socket.socket:
    where = f"cannot take over socket {name} (descriptor {number})"
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            raise OperatorError(f"{where}: it is not a socket")
        handed = socket.socket(fileno=number)
    except OSError as error:
        raise OperatorError(f"{where}: {os.strerror(error.errno or 0)}") from None
    is_tcp = handed.family in (socket.AF_INET, socket.AF_INET6) and handed.type == socket.SOCK_STREAM
    if not is_tcp or not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        handed.detach()
        raise OperatorError(f"{where}: it is not a listening TCP socket")
    handed.set_inheritable(False)
    return handed


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell the service manager `state`, such as "READY=1", where there is one that listens (sd_notify(3))."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:  # nobody waits for us
        channel.setblocking(False)
        channel.sendto(state.encode(), address)
