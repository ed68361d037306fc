"""The suite's group 6: UTF-8, after Markus Kuhn's stress test for decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

from fanwire_protocol.codes import ErrorCode
from tests.edge.autobahn.case import CONTINUATION, HEAR, Case, close, command, fragments, frame, said
from tests.edge.wire import PING, TEXT

__all__ = ["TEXTS"]

END = close()
NO_TEXT = 1007
PROBE = frame("alive", PING)

MIXED = "Hello-µ@ßöäüàá-UTF-8!!"
KOSME = "κόσμε".encode()
GREEK = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
SURROGATE = GREEK + b"\xed\xa0\x80" + b"edited"
BEYOND = GREEK + b"\xf4\x90\x80\x80" + b"edited"
# Where the thirteenth byte of the text makes it invalid, and where its last part begins, in the command.
AT = command("X").index(b"X")


def _by_bytes(payload: bytes) -> bytes:
    return b"".join(fragments(payload, *range(1, len(payload))))


def _late(id_: str, cuts: Sequence[int]) -> Case:
    """Return a case in fragments; the edge answers a PING behind the one that makes the text invalid."""
    first, second, third = fragments(command(BEYOND), *(AT + cut for cut in cuts))
    return Case(id_, [first, PROBE, HEAR, second, PROBE, HEAR, third], [b"alive"] * 2, NO_TEXT, deviates=True)


def _late_in_a_frame(id_: str, cuts: Sequence[int]) -> Case:
    """Return a case of one frame in pieces; it ends with its last byte."""
    data = frame(command(BEYOND))
    begin = len(data) - len(command(BEYOND)) + AT
    places = [0, *(begin + cut for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    return Case(id_, pieces, code=NO_TEXT, deviates=True)


FRAGMENTED = [
    # An empty message is no command.
    Case("6.1.1", [frame("") + END], [ErrorCode.INVALID_JSON], deviates=True),
    Case(
        "6.1.2",
        [frame("", fin=False) + frame("", CONTINUATION, fin=False) + frame("", CONTINUATION) + END],
        [ErrorCode.INVALID_JSON],
        deviates=True,
    ),
    Case(
        "6.1.3",
        [
            frame("", TEXT, fin=False)
            + frame(command("middle frame payload"), CONTINUATION, fin=False)
            + frame("", CONTINUATION)
            + END
        ],
        ["middle frame payload"],
    ),
    Case("6.2.1", [said(MIXED) + END], [MIXED]),
    Case("6.2.2", [*fragments(command(MIXED), AT + len("Hello-µ@ßöä".encode())), END], [MIXED]),
    Case("6.2.3", [_by_bytes(command(MIXED)) + END], [MIXED]),
    Case("6.2.4", [_by_bytes(command(GREEK)) + END], [GREEK.decode()]),
    Case("6.3.1", [said(SURROGATE)], code=NO_TEXT),
    Case("6.3.2", [_by_bytes(command(SURROGATE))], code=NO_TEXT),
    # The text is looked at when it is whole: as soon as that, and not before.
    _late("6.4.1", (11, 15)),
    _late("6.4.2", (12, 13)),
    _late_in_a_frame("6.4.3", (11, 15)),
    _late_in_a_frame("6.4.4", (12, 13)),
]

WITHOUT_LAST = [
    *(b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"),
    *(b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"),
]
LONELY = [(0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD)]
HIGHS = (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
LOWS = (b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf")

# From 6.5 on: each sequence is a case of its own. Whether it is valid UTF-8, Python's decoder is not asked.
VALID = True
SEQUENCES: list[tuple[str, list[tuple[bool, bytes]]]] = [
    (
        "6.5",
        [(VALID, f"hello{sign}world".encode()) for sign in "$¢€\U00024b62"] + [(VALID, GREEK)],
    ),
    # Its characters end at these.
    ("6.6", [(end in (2, 5, 7, 9, 11), GREEK[:end]) for end in range(1, 12)]),
    ("6.7", [(VALID, each) for each in (b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80")]),
    ("6.8", [(False, each) for each in (b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80")]),
    ("6.9", [(VALID, each) for each in (b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf")]),
    (
        "6.10",
        [(False, b"\xf7\xbf\xbf\xbf"), (False, b"\xfb" + b"\xbf" * 4), (False, b"\xfd" + b"\xbf" * 5)],
    ),
    (
        "6.11",
        [(VALID, each) for each in (b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf")]
        + [(False, b"\xf4\x90\x80\x80")],
    ),
    (
        "6.12",
        [(False, b"\x80"), (False, b"\xbf")]
        + [(False, (b"\x80\xbf" * 3)[:size]) for size in range(2, 7)]
        + [(False, bytes(range(0x80, 0xBF)))],
    ),
    (
        "6.13",
        [(False, b"".join(bytes((byte, 0x20)) for byte in range(*ends))) for ends in LONELY],
    ),
    ("6.14", [(False, each) for each in WITHOUT_LAST]),
    ("6.15", [(False, b"".join(WITHOUT_LAST))]),
    ("6.16", [(False, b"\xfe"), (False, b"\xff"), (False, b"\xfe\xfe\xff\xff")]),
    ("6.17", [(False, each + b"\xaf") for each in WITHOUT_LAST[:5]]),
    (
        "6.18",
        [
            (False, each)
            for each in (
                b"\xc1\xbf",
                b"\xe0\x9f\xbf",
                b"\xf0\x8f\xbf\xbf",
                b"\xf8\x87\xbf\xbf\xbf",
                b"\xfc\x83\xbf\xbf\xbf\xbf",
            )
        ],
    ),
    ("6.19", [(False, each + b"\x80") for each in WITHOUT_LAST[:5]]),
    ("6.20", [(False, each) for each in (*HIGHS, *LOWS)]),
    ("6.21", [(False, high + low) for high, low in product(HIGHS, (LOWS[0], LOWS[2]))]),
    # Two in each plane are no characters, and valid all the same.
    (
        "6.22",
        [(VALID, chr(plane << 16 | last).encode()) for plane in range(17) for last in (0xFFFE, 0xFFFF)],
    ),
    ("6.23", [(VALID, b"\xef\xbf" + bytes((last,))) for last in range(0xB9, 0xC0)]),
]


def _sequences() -> list[Case]:
    cases = []
    for group, sequences in SEQUENCES:
        for number, (is_valid, text) in enumerate(sequences, 1):
            id_ = f"{group}.{number}"
            if text == b"\x00":
                # UTF-8, and no JSON: that has control characters escaped only.
                cases.append(Case(id_, [said(text) + END], [ErrorCode.INVALID_JSON], deviates=True))
            elif is_valid:
                cases.append(Case(id_, [said(text) + END], [text.decode()]))
            else:
                cases.append(Case(id_, [said(text)], code=NO_TEXT))
    return cases


TEXTS = [*FRAGMENTED, *_sequences()]
