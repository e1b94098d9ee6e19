"""The Huffman code of HPACK (RFC 7541 appendix B), decoded four bits at a time."""

from shortener.rpc.http2.errors import ErrorCode, ProtocolError

_EOS = 256

# The code is canonical: codes ascend with length, and within one length with the symbol. So the symbols in the
# order of their codes are all there is to know; the key is the length in bits.
_SYMBOLS: dict[int, bytes] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2 b8c2e0e2"),
    21: bytes.fromhex("99a1a7ac b0b1b3d1 d8d9e3e5 e6"),
    22: bytes.fromhex("81848586 88929a9c a0a3a4a9 aaadb2b5 b9babbbd bec4c6e4 e8e9"),
    23: bytes.fromhex("0187898a 8b8c8d8f 93959697 989b9d9e a5a6a8ae afb4b6b7 bcbfc5e7 ef"),
    24: bytes.fromhex("098e9091 949fabce d7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9 cacdd2d5 dadbeef0 f2f3ff"),
    27: bytes.fromhex("cbccd3d4 d6dddedf f1f4f5f6 f7f8fafb fcfdfe"),
    28: bytes.fromhex("02030405 0607080b 0c0e0f10 11121314 15171819 1a1b1c1d 1e1f7fdc f9"),
    30: bytes.fromhex("0a0d16"),
}
_ROOT = 0
_DEAD = -1


def _codes() -> dict[tuple[int, int], int]:
    """Return (length, code) -> symbol for all 257 symbols."""
    table: dict[tuple[int, int], int] = {}
    code, before = 0, 5
    for length, symbols in _SYMBOLS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            table[length, code] = symbol
            code += 1
    table[30, code] = _EOS
    return table


def _build() -> tuple[list[int], list[int], list[bool]]:
    """Return the automaton: next state and emitted symbol (or -1) by state * 16 + nibble, and where input may end.

    A state is an inner node of the code tree. Input may end where the bits since the last symbol are fewer than
    eight, and all ones: they are then a prefix of EOS, as section 5.2 wants its padding.
    """
    codes = _codes()
    nodes = sorted({(n, code >> (length - n)) for length, code in codes for n in range(length)})
    state_of = {node: state for state, node in enumerate(nodes)}
    following: list[int] = []
    emitted: list[int] = []
    for node in nodes:
        for nibble in range(16):
            (length, code), symbol, dead = node, -1, False
            for shift in (3, 2, 1, 0):
                length, code = length + 1, code << 1 | nibble >> shift & 1
                found = codes.get((length, code))
                if found is not None:
                    dead = dead or found == _EOS
                    symbol, length, code = found, 0, 0
            following.append(_DEAD if dead else state_of[length, code])
            emitted.append(symbol)
    return following, emitted, [length < 8 and code == (1 << length) - 1 for length, code in nodes]


_FOLLOWING, _EMITTED, _MAY_END = _build()


def decode(data: bytes) -> bytes:
    """Return the text that `data` stands for; at most eight fifths as long.

    Raises ProtocolError COMPRESSION_ERROR for an EOS symbol and for padding that is not a short run of ones.
    """
    following, emitted = _FOLLOWING, _EMITTED
    text = bytearray()
    state = _ROOT
    for byte in data:
        for step in (byte >> 4, byte & 15):
            step += state << 4  # noqa: PLW2901 - the loop is hot
            symbol = emitted[step]
            if symbol >= 0:
                if symbol == _EOS:
                    raise ProtocolError(ErrorCode.COMPRESSION_ERROR, "EOS inside a Huffman string")
                text.append(symbol)
            state = following[step]
    if not _MAY_END[state]:
        raise ProtocolError(ErrorCode.COMPRESSION_ERROR, "bad Huffman padding")
    return bytes(text)
