"""The small picture that browsers ask for, drawn here so that nothing has to be shipped beside the code."""

import struct

_ROWS = (
    "................",
    "................",
    "..........####..",
    ".........#....#.",
    "........#......#",
    ".......#...#...#",
    "......#...#....#",
    "..........#...#.",
    "..#...#..#...#..",
    ".#...#...####...",
    "#....#..........",
    "#...#...#.......",
    "#......#........",
    ".#....#.........",
    "..####..........",
    "................",
)
_COLOUR = (0xC8, 0x5A, 0x1E)  # blue, green, red, as bitmaps have them


def favicon() -> bytes:
    """Return a 16 by 16 icon of two links of a chain, in the ICO format, two colours and transparency."""
    lit = [int(row.replace("#", "1").replace(".", "0"), 2) for row in reversed(_ROWS)]
    colours = struct.pack("<II", 0, _COLOUR[0] | _COLOUR[1] << 8 | _COLOUR[2] << 16)
    picture = b"".join(struct.pack(">HH", bits, 0) for bits in lit)
    transparent = b"".join(struct.pack(">HH", bits ^ 0xFFFF, 0) for bits in lit)
    header = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 1, 0, len(picture) + len(transparent), 0, 0, 2, 0)
    bitmap = header + colours + picture + transparent
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 2, 0, 1, 1, len(bitmap), 22) + bitmap
