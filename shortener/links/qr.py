"""QR codes of short URLs as PNG and SVG. What segno has drawn once is added up instead of drawn again."""

import asyncio
import functools
import re
import struct
import zlib
from math import isqrt
from typing import AnyStr

import segno

from shortener.links.ports import QrFormat

# Choosing the mask is most of segno's work (2.1 ms, fixed 0.6 ms). The standard asks for the best-looking of the eight;
# scanners read them all, and mask 3's diagonals never make the large even areas that a poor choice can.
MASK = 3
ERROR_LEVEL = "m"
QUIET_ZONE = 4
"""Modules of white on each side (ISO/IEC 18004)."""
MODULE_PIXELS = 8
"""Pixels of a module in PNG: one byte of a 1-bit image, which makes drawing a table look-up."""

_ASCII_BITS = 7
_TO_DIGITS, _TO_PIXELS = bytes.maketrans(b"\x00\x01", b"01"), bytes.maketrans(b"01", b"\xff\x00")
_BLACK = re.compile("1+")
_FILTER_NONE, _FILTER_UP = b"\x00", b"\x02"

_Parts = tuple[bytes, bytes, bytes]
"""What is before the first line, between two lines and behind the last."""


class QrCodes:
    """`RenderQr` on the event loop for the short URLs under `base_url`: 15 µs a PNG, 0.15 ms an SVG.

    With version, level, mask, mode and length of the text given, a QR code is affine over GF(2) in the bits of the
    text (ISO/IEC 18004: padding, format and mask are constants to it, Reed-Solomon codes are linear, and modules only
    change places). So what a character changes is the same whatever stands beside it: segno draws it once, for each
    version and place, and a code is the sum (XOR) of one such change a character and the code of as many NULs.

    segno draws the changes when a code of such a length is first asked for: seven for each character, one at a turn of
    the loop, so that only callers who wait for that length notice. All lengths together keep a few MB.
    """

    def __init__(self, base_url: str) -> None:
        self._prefix = f"{base_url}/"
        self._changes: dict[tuple[int, int], list[int]] = {}
        """What each ASCII character changes, by the number of modules, which tells the version, and the place."""
        self._tables: dict[int, tuple[int, int, list[list[int]]]] = {}
        """By length of the short code: the number of modules, the code of as many NULs, the changes of each place."""
        self._preparing = asyncio.Lock()

    async def __call__(self, short_url: str, image: QrFormat) -> bytes:
        """Return the image as a whole file."""
        short_code = short_url.removeprefix(self._prefix)
        if len(short_code) not in self._tables:
            async with self._preparing:
                await self._prepare(short_code)
        drawn = _summed(short_code, *self._tables[len(short_code)])
        return draw_png(drawn) if image == "png" else draw_svg(drawn)

    async def _prepare(self, short_code: str) -> None:
        """Make what is not there yet of the tables for codes as long as this one, and compare it with segno's own."""
        length = len(short_code)
        if length in self._tables:  # others have waited for it as well
            return
        own, nuls = modules(self._prefix + short_code), int(modules(self._prefix + "\0" * length), 2)
        for place in range(length):
            if (len(own), place) in self._changes:
                continue
            changes = [0]
            for bit in range(_ASCII_BITS):
                await asyncio.sleep(0)
                text = "\0" * place + chr(1 << bit) + "\0" * (length - place - 1)
                change = int(modules(self._prefix + text), 2) ^ nuls
                changes += [other ^ change for other in changes]
            self._changes[len(own), place] = changes
        table = len(own), nuls, [self._changes[len(own), place] for place in range(length)]
        if _summed(short_code, *table) != own:
            raise RuntimeError(f"the tables draw another QR code than segno {segno.__version__}")
        self._tables[length] = table


def _summed(short_code: str, size: int, number: int, changes: list[list[int]]) -> str:
    """Return `size` modules: those of `number`, with what each character changes."""
    for character, change in zip(short_code.encode("ascii"), changes, strict=True):
        number ^= change[character]
    return format(number, f"0{size}b")


def modules(short_url: str) -> str:
    """Return the modules as segno draws them, row by row: "1" is black. Takes 0.6 ms, 3 ms for 250 characters.

    Never Micro QR, which common scanners do not read, and always in byte mode: only URLs all in capitals could do with
    less.
    """
    code = segno.make_qr(short_url, error=ERROR_LEVEL, mode="byte", mask=MASK, boost_error=False)
    return b"".join(code.matrix).translate(_TO_DIGITS).decode()


def rows(drawn: AnyStr) -> list[AnyStr]:
    """Return the rows of a square of modules."""
    size = isqrt(len(drawn))
    return [drawn[start : start + size] for start in range(0, len(drawn), size)]


def draw_png(drawn: str) -> bytes:
    """Return these modules as a black and white PNG, eight pixels a module: 1.6 KB for usual lengths."""
    lines = rows(drawn.encode("ascii").translate(_TO_PIXELS))
    head, raw, packed = _frame(len(lines))
    checksum = zlib.adler32(_framed(raw, lines)).to_bytes(4, "big")
    return head + _chunk(b"IDAT", _framed(packed, lines) + checksum) + _chunk(b"IEND", b"")


def _framed(frame: _Parts, lines: list[bytes]) -> bytes:
    first, between, last = frame
    return b"".join((first, between.join(lines), last))


@functools.cache
def _frame(size: int) -> tuple[bytes, _Parts, _Parts]:
    """Return what all PNGs of `size` rows have in common: the head, and what is around their lines, raw and packed.

    The lines are not packed: that would take twice as long as all the rest, to save 1 KB. What zlib flushes ends with
    an empty stored block (RFC 1951, 3.2.4), which is given the length of a line here: it holds the line that follows.
    """
    side = size + 2 * QUIET_ZONE
    margin, above = b"\xff" * QUIET_ZONE, _FILTER_UP + bytes(side)
    # A line repeats for the height of its modules: "same as above" compresses to nothing.
    repeated = above * (MODULE_PIXELS - 1)
    blank = _FILTER_NONE + b"\xff" * side + repeated + above * (QUIET_ZONE - 1) * MODULE_PIXELS
    begin, end = _FILTER_NONE + margin, margin + repeated
    stored = struct.pack("<HH", size, size ^ 0xFFFF)
    first, between, last = (zlib.compressobj(wbits=wbits) for wbits in (15, -15, -15))
    packed = (
        first.compress(blank + begin) + first.flush(zlib.Z_SYNC_FLUSH)[:-4] + stored,
        between.compress(end + begin) + between.flush(zlib.Z_SYNC_FLUSH)[:-4] + stored,
        last.compress(end + blank) + last.flush(),
    )
    header = struct.pack(">IIBBBBB", side * MODULE_PIXELS, side * MODULE_PIXELS, 1, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return head, (blank + begin, end + begin, end + blank), packed


def draw_svg(drawn: str) -> bytes:
    """Return these modules as a black and white SVG that scales to any size; `viewBox` counts modules."""
    lines = rows(drawn)
    side = len(lines) + 2 * QUIET_ZONE
    pixels = side * MODULE_PIXELS
    path = "".join(
        f"M{run.start() + QUIET_ZONE} {y}h{len(run[0])}v1h-{len(run[0])}z"
        for y, line in enumerate(lines, QUIET_ZONE)
        for run in _BLACK.finditer(line)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{pixels}" height="{pixels}" viewBox="0 0 {side} {side}">'
        f'<path fill="#fff" d="M0 0h{side}v{side}H0z"/>'
        f'<path fill="#000" shape-rendering="crispEdges" d="{path}"/></svg>\n'
    ).encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
