"""HPACK (RFC 7541): a decoder with its limits, Huffman's code included, and the few field forms that answers need."""

from shortener.rpc.http2.errors import ErrorCode, ProtocolError

Field = tuple[str, str]
"""Name and value; each character is one byte of the wire (Latin-1)."""

_STATIC = (
    ":authority; :method: GET; :method: POST; :path: /; :path: /index.html; :scheme: http; :scheme: https; "
    ":status: 200; :status: 204; :status: 206; :status: 304; :status: 400; :status: 404; :status: 500; "
    "accept-charset; accept-encoding: gzip, deflate; accept-language; accept-ranges; accept; "
    "access-control-allow-origin; age; allow; authorization; cache-control; content-disposition; "
    "content-encoding; content-language; content-length; content-location; content-range; content-type; cookie; "
    "date; etag; expect; expires; from; host; if-match; if-modified-since; if-none-match; if-range; "
    "if-unmodified-since; last-modified; link; location; max-forwards; proxy-authenticate; proxy-authorization; "
    "range; referer; refresh; retry-after; server; set-cookie; strict-transport-security; transfer-encoding; "
    "user-agent; vary; via; www-authenticate"
)
STATIC: tuple[Field, ...] = (
    ("", ""),  # there is no index 0
    *((name, value) for name, _, value in (entry.partition(": ") for entry in _STATIC.split("; "))),
)
"""The static table (RFC 7541 appendix A)."""

_STATIC_MAX = len(STATIC) - 1
_ENTRY_OVERHEAD = 32  # section 4.1
_INTEGER_MAX = 1 << 28  # far above every length that frames allow


def _fault(reason: str) -> ProtocolError:
    return ProtocolError(ErrorCode.COMPRESSION_ERROR, reason)


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """Return the integer whose prefixed byte is at `position`, and where the next thing begins (section 5.1)."""
    mask = (1 << prefix) - 1
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    shift = 0
    while True:
        if position >= len(block):
            raise _fault("truncated integer")
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if value > _INTEGER_MAX or shift > 28:
            raise _fault("integer too large")
        if byte < 0x80:
            return value, position
        shift += 7


def _string(block: bytes, position: int) -> tuple[str, int]:
    """Return the string literal at `position`, and where the next thing begins (section 5.2)."""
    if position >= len(block):
        raise _fault("truncated field")
    coded = block[position] & 0x80
    length, position = _integer(block, position, 7)
    end = position + length
    if end > len(block):
        raise _fault("truncated string")
    text = block[position:end]
    if coded:
        text = huffman_decode(text)
    return text.decode("latin-1"), end


class Decoder:
    """One connection's decoding state.

    `table_size_max` is what our SETTINGS allow the peer's dynamic table, in bytes; `list_size_max` bounds a decoded
    list as RFC 9113 section 6.5.2 counts it; a list of twice as many bytes ends the connection, so that a block costs
    no more to decode than an honest one. `generation` changes with the dynamic table: while it stands, equal blocks
    mean equal fields.
    """

    __slots__ = ("_allowed", "_entries", "_limit", "_list_size_max", "_size", "generation")

    def __init__(self, *, table_size_max: int, list_size_max: int) -> None:
        self._allowed = table_size_max
        self._limit = table_size_max
        self._list_size_max = list_size_max
        self._entries: list[Field] = []  # oldest first
        self._size = 0
        self.generation = 0

    def decode(self, block: bytes) -> list[Field] | None:
        """Return the fields of one whole header block, or None when they exceed the limit.

        The dynamic table is kept up in either case, and never more than the limit is held. Raises ProtocolError,
        after which the decoder is of no use: COMPRESSION_ERROR for a malformed block, ENHANCE_YOUR_CALM for a list of
        more than twice the limit.
        """
        fields: list[Field] = []
        room = self._list_size_max
        position, end = 0, len(block)
        while position < end:
            byte = block[position]
            if byte & 0x80:
                index, position = _integer(block, position, 7)
                field = self._indexed(index)
            elif byte & 0x40:
                field, position = self._literal(block, position, 6)
                self._insert(field)
            elif byte & 0x20:
                if fields or room < self._list_size_max:
                    raise _fault("table size update after a field")
                position = self._resize(block, position)
                continue
            else:
                field, position = self._literal(block, position, 4)
            room -= len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
            if room >= 0:
                fields.append(field)
            elif room < -self._list_size_max:
                raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "header list too long")
        return fields if room >= 0 else None

    def _indexed(self, index: int) -> Field:
        if index <= _STATIC_MAX:
            if index == 0:
                raise _fault("index 0")
            return STATIC[index]
        index -= _STATIC_MAX
        if index > len(self._entries):
            raise _fault("index beyond the table")
        return self._entries[-index]

    def _literal(self, block: bytes, position: int, prefix: int) -> tuple[Field, int]:
        index, position = _integer(block, position, prefix)
        if index:
            name = self._indexed(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _resize(self, block: bytes, position: int) -> int:
        limit, position = _integer(block, position, 5)
        if limit > self._allowed:
            raise _fault("table size above our SETTINGS")
        self._limit = limit
        self.generation += 1
        self._evict(0)
        return position

    def _insert(self, field: Field) -> None:
        self.generation += 1
        size = len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        self._evict(size)
        if size <= self._limit:
            self._entries.append(field)
            self._size += size

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until `room` bytes fit, or none is left (section 4.4)."""
        entries = self._entries
        gone = 0
        while gone < len(entries) and self._size + room > self._limit:
            name, value = entries[gone]
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD
            gone += 1
        if gone:
            del entries[:gone]
            self.generation += 1


def _encoded_integer(value: int, prefix: int, flags: int) -> bytes:
    mask = (1 << prefix) - 1
    if value < mask:
        return bytes((flags | value,))
    out = bytearray((flags | mask,))
    value -= mask
    while value >= 0x80:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def indexed(index: int) -> bytes:
    """Return the form that stands for a whole table entry."""
    return _encoded_integer(index, 7, 0x80)


def literal(name: str, value: str, *, insert: bool = False) -> bytes:
    """Return a literal field without Huffman coding; with `insert` both sides add it to the dynamic table."""
    flags = 0x40 if insert else 0x00
    prefix = 6 if insert else 4
    index = _NAME_INDEX.get(name)
    if index is not None:
        head = _encoded_integer(index, prefix, flags)
    else:
        head = bytes((flags,)) + _encoded_integer(len(name), 7, 0) + name.encode("latin-1")
    return head + _encoded_integer(len(value), 7, 0) + value.encode("latin-1")


TABLE_OFF = b"\x20"
"""A dynamic table size update to 0, for peers whose table is smaller than ours would like it."""

_NAME_INDEX: dict[str, int] = {}
for _index, (_name, _) in enumerate(STATIC):
    if _index:
        _NAME_INDEX.setdefault(_name, _index)


# The Huffman code (appendix B), decoded four bits at a time.

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


def huffman_decode(data: bytes) -> bytes:
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
                    raise _fault("EOS inside a Huffman string")
                text.append(symbol)
            state = following[step]
    if not _MAY_END[state]:
        raise _fault("bad Huffman padding")
    return bytes(text)
