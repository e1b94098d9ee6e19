"""Lists that the operator keeps in files: hosts that links may not lead to, and short codes in quarantine. Pure.

Hosts come as `hosts` files have them (an address, then names) or one a line; `#` begins a comment in both.
"""

import ipaddress
import re
from array import array
from collections.abc import Callable, Iterable

from shortener.errors import OperatorError
from shortener.links.hosts import DNS_NAME_MAX, Host, canonical, same_hosts, to_ascii
from shortener.links.lists.hash_set import Fingerprints, fingerprint

_SINKS = frozenset({"0.0.0.0", "127.0.0.1", "::", "::1"})  # noqa: S104 - nothing listens on these
_COMMON = re.compile(r"(?:(?:0\.0\.0\.0|127\.0\.0\.1)[ \t]+)?((?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*)\r?")
"""What nearly every line of long lists is; it takes a third of the time to see that."""
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_CODE = re.compile(r"[A-Za-z0-9_-]{3,50}")
_OWN_NAMES = frozenset({"localhost.localdomain", "0.0.0.0"})  # noqa: S104 - as above


class Blocklist:
    """The hosts of a list, each with all its subdomains."""

    __slots__ = ("_names",)

    def __init__(self, names: Fingerprints) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def blocks(self, host: Host) -> bool:
        """Tell whether a canonical host is listed, is below a name that is, or leads to an address that is."""
        if not isinstance(host, str):
            return any(str(each) in self._names for each in same_hosts(host))
        name = host.rstrip(".")
        if len(name) > DNS_NAME_MAX:  # such a name cannot be listed, but what it ends with can
            name = name[-DNS_NAME_MAX - 1 :].partition(".")[2]
        while name:
            if name in self._names:
                return True
            name = name.partition(".")[2]
        return False


def read_blocklist(lines: Iterable[str], *, size_max: int) -> Blocklist:
    """Read a list of hosts. Raises `OperatorError` for one with more than `size_max`, or mostly of something else."""
    return Blocklist(_read(lines, hosts_in, size_max=size_max, what="hosts"))


def read_codes(lines: Iterable[str], *, size_max: int) -> Fingerprints:
    """Read a list of short codes, one a line. Raises `OperatorError` as `read_blocklist` does."""
    return _read(lines, codes_in, size_max=size_max, what="short codes")


def _read(
    lines: Iterable[str], entries_in: Callable[[str], tuple[str, ...]], *, size_max: int, what: str
) -> Fingerprints:
    members: array[int] = array("Q")
    odd = 0
    for line in lines:
        try:
            members.extend(map(fingerprint, entries_in(line)))
        except ValueError:
            odd += 1
        if len(members) > size_max:
            raise OperatorError(f"has more than {size_max} {what}")
    if odd > len(members):  # an error page, say, that was saved under the list's name
        raise OperatorError(f"is no list of {what}: {odd} lines hold none, {len(members)} do")
    return Fingerprints(members)


def hosts_in(line: str) -> tuple[str, ...]:
    """Return the hosts that one line lists, as `str(canonical(...))` gives them; none for blanks and comments.

    After an address, names that every hosts file has for the machine itself are passed over. A leading `*.` or `.`
    says nothing, since subdomains are always meant. Raises `ValueError` for a line that is no entry.
    """
    common = _COMMON.fullmatch(line)
    if common and len(line) <= DNS_NAME_MAX and common[1] not in _OWN_NAMES:
        return (common[1],)
    words = line.partition("#")[0].split()
    if not words:
        return ()
    if len(words) == 1:
        return (_host(words[0]),)
    if words[0] not in _SINKS:
        ipaddress.ip_address(words[0].partition("%")[0])
    return tuple(_host(word) for word in words[1:] if not _is_of_the_machine(word))


def codes_in(line: str) -> tuple[str, ...]:
    """Return the short code that one line lists; none for blanks and comments. Raises `ValueError`."""
    text = line.partition("#")[0].strip()
    if not text:
        return ()
    if not _CODE.fullmatch(text):
        raise ValueError("not a short code")
    return (text,)


def _is_of_the_machine(name: str) -> bool:
    return ("." not in name and ":" not in name) or name.lower() in _OWN_NAMES


def _host(word: str) -> str:
    name = word.lower().removeprefix("*").removeprefix(".").removesuffix(".")
    if not _NAME.fullmatch(name) or name[name.rfind(".") + 1].isdigit():
        name = _odd_host(name)
    if len(name) > DNS_NAME_MAX:
        raise ValueError("not a host")
    return name


def _odd_host(name: str) -> str:
    """Read what is not plainly a name: an address in any spelling, or a name with letters beyond ASCII."""
    if ":" in name:
        return str(ipaddress.IPv6Address(name.strip("[]")).ipv4_mapped or ipaddress.IPv6Address(name.strip("[]")))
    ascii_name = name if name.isascii() else to_ascii(name)
    if ascii_name is None or not _NAME.fullmatch(ascii_name):
        raise ValueError("not a host")
    return str(canonical(ascii_name))
