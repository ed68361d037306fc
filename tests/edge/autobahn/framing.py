"""The suite's groups 1 to 5: sizes, PINGs, reserved bits, reserved opcodes, fragments."""

from __future__ import annotations

from fanwire_protocol.codes import ErrorCode
from tests.edge.autobahn.case import (
    CONTINUATION,
    HEAR,
    Case,
    chopped,
    close,
    command,
    fragments,
    frame,
    said,
    sized,
)
from tests.edge.wire import BINARY, CLOSE, PING, PONG, TEXT

__all__ = ["FRAGMENTS", "OPCODES", "PINGS", "RESERVED_BITS", "SIZES"]

HELLO = "Hello, world!"
BYTES = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
END = close()
BROKEN = 1002
TOO_BIG = 1009

# Group 1. An empty message is no command; more than 4,096 bytes are refused by their header; binary messages
# are refused whatever is in them.
SIZES = [
    Case("1.1.1", [frame("") + END], [ErrorCode.INVALID_JSON], deviates=True),
    *(
        Case(f"1.1.{number}", [frame(sized(size)) + END], [size])
        for number, size in enumerate((125, 126, 127, 128), 2)
    ),
    Case("1.1.6", [frame(sized(65535))], code=TOO_BIG, deviates=True),
    Case("1.1.7", [frame(sized(65536))], code=TOO_BIG, deviates=True),
    Case("1.1.8", chopped(frame(sized(65536)), 997), code=TOO_BIG, deviates=True),
    *(
        Case(f"1.2.{number}", [frame(b"\xfe" * size, BINARY)], code=1003, deviates=True)
        for number, size in enumerate((0, 125, 126, 127, 128), 1)
    ),
    Case("1.2.6", [frame(b"\xfe" * 65535, BINARY)], code=TOO_BIG, deviates=True),
    Case("1.2.7", [frame(b"\xfe" * 65536, BINARY)], code=TOO_BIG, deviates=True),
    Case("1.2.8", chopped(frame(b"\xfe" * 65536, BINARY), 997), code=TOO_BIG, deviates=True),
]

TEN = [b"payload-%d" % number for number in range(10)]
TEN_PINGS = b"".join(frame(payload, PING) for payload in TEN)

# Group 2.
PINGS = [
    Case("2.1", [frame("", PING) + END], [b""]),
    Case("2.2", [frame(HELLO, PING) + END], [HELLO.encode()]),
    Case("2.3", [frame(BYTES, PING) + END], [BYTES]),
    Case("2.4", [frame(b"\xfe" * 125, PING) + END], [b"\xfe" * 125]),
    Case("2.5", [frame(b"\xfe" * 126, PING)], code=BROKEN),
    Case("2.6", [*chopped(frame(b"\xfe" * 125, PING)), END], [b"\xfe" * 125]),
    Case("2.7", [frame("", PONG) + END]),
    Case("2.8", [frame("unsolicited pong payload", PONG) + END]),
    Case(
        "2.9",
        [frame("unsolicited pong payload", PONG) + frame("ping payload", PING) + END],
        [b"ping payload"],
    ),
    Case("2.10", [TEN_PINGS + END], TEN),
    Case("2.11", [*chopped(TEN_PINGS), END], TEN),
]

PROBE = frame("", PING)

# Group 3.
RESERVED_BITS = [
    Case("3.1", [said(HELLO, reserved=1)], code=BROKEN),
    Case("3.2", [said(HELLO) + said(HELLO, reserved=2) + PROBE], [HELLO], BROKEN),
    Case("3.3", [said(HELLO), said(HELLO, reserved=3), PROBE], [HELLO], BROKEN),
    Case("3.4", chopped(said(HELLO) + said(HELLO, reserved=4) + PROBE), [HELLO], BROKEN),
    Case("3.5", [frame(BYTES, BINARY, reserved=5)], code=BROKEN),
    Case("3.6", [frame(HELLO, BINARY, reserved=6)], code=BROKEN),
    Case("3.7", [frame("", CLOSE, reserved=7)], code=BROKEN),
]


def _reserved_opcodes(group: str, first: int) -> list[Case]:
    """Return the five cases of a group, of five opcodes in a row."""
    payload = "reserved opcode payload"
    return [
        Case(f"{group}.1", [frame("", first)], code=BROKEN),
        Case(f"{group}.2", [frame(payload, first + 1)], code=BROKEN),
        Case(f"{group}.3", [said(HELLO) + frame("", first + 2) + PROBE], [HELLO], BROKEN),
        Case(f"{group}.4", [said(HELLO) + frame(HELLO, first + 3) + PROBE], [HELLO], BROKEN),
        Case(f"{group}.5", chopped(said(HELLO) + frame(HELLO, first + 4) + PROBE), [HELLO], BROKEN),
    ]


# Group 4: of data frames, and of control frames.
OPCODES = [*_reserved_opcodes("4.1", 0x3), *_reserved_opcodes("4.2", 0xB)]

WORDS = "fragment1fragment2"
FIRST, SECOND = fragments(command(WORDS), 25)
BETWEEN = frame("ping payload", PING)
LONE_END = frame("non-continuation payload", CONTINUATION)
LONE_PART = frame("non-continuation payload", CONTINUATION, fin=False)
PART = frame("fragment1", CONTINUATION, fin=False)
FIVE = "fragment1fragment2fragment3fragment4fragment5"
FIVE_PARTS = fragments(command(FIVE), 20, 30, 40, 50)
PONGS = [b"pongme 1!", b"pongme 2!"]
FIVE_BEGUN = [*FIVE_PARTS[:2], frame(PONGS[0], PING)]
FIVE_ENDED = [*FIVE_PARTS[2:4], frame(PONGS[1], PING), FIVE_PARTS[4], END]

# Group 5.
FRAGMENTS = [
    Case("5.1", [frame("fragment1", PING, fin=False) + frame("fragment2", CONTINUATION)], code=BROKEN),
    Case("5.2", [frame("fragment1", PONG, fin=False) + frame("fragment2", CONTINUATION)], code=BROKEN),
    Case("5.3", [FIRST + SECOND + END], [WORDS]),
    Case("5.4", [FIRST, SECOND, END], [WORDS]),
    Case("5.5", [*chopped(FIRST + SECOND), END], [WORDS]),
    Case("5.6", [FIRST + BETWEEN + SECOND + END], [b"ping payload", WORDS]),
    Case("5.7", [FIRST, BETWEEN, SECOND, END], [b"ping payload", WORDS]),
    Case("5.8", [*chopped(FIRST + BETWEEN + SECOND), END], [b"ping payload", WORDS]),
    Case("5.9", [LONE_END + said(HELLO)], code=BROKEN),
    Case("5.10", [LONE_END, said(HELLO)], code=BROKEN),
    Case("5.11", chopped(LONE_END + said(HELLO)), code=BROKEN),
    Case("5.12", [LONE_PART + said(HELLO)], code=BROKEN),
    Case("5.13", [LONE_PART, said(HELLO)], code=BROKEN),
    Case("5.14", chopped(LONE_PART + said(HELLO)), code=BROKEN),
    Case("5.15", [FIRST + SECOND + PART + said(HELLO)], [WORDS], BROKEN),
    Case("5.16", [(PART + frame("fragment2", TEXT, fin=False) + LONE_END) * 2], code=BROKEN),
    Case("5.17", [(LONE_END + frame("fragment2", TEXT, fin=False) + LONE_END) * 2], code=BROKEN),
    Case("5.18", [frame("fragment1", TEXT, fin=False) + frame("fragment2", TEXT)], code=BROKEN),
    Case("5.19", [b"".join(FIVE_BEGUN), HEAR, b"".join(FIVE_ENDED)], [*PONGS, FIVE]),
    Case("5.20", [*FIVE_BEGUN, HEAR, *FIVE_ENDED], [*PONGS, FIVE]),
]
