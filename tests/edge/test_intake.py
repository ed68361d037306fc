"""One reader for all connections: nobody notices that it is not their own."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.dialect import Dialects
from fanwire_edge.inbound import Inbound
from fanwire_edge.intake import Intake
from tests.edge.wire import BINARY, PING, frame_bytes

DIALECT = Dialects().json
CONTINUATION = 0x0


class Peer:
    """Receives as a connection does: by the shared reader until it is given its own."""

    def __init__(self) -> None:
        self.own: Inbound | None = None
        self.messages: list[tuple[WSMsgType, Any]] = []
        self.problems: list[BaseException] = []

    def take(self, intake: Intake, data: bytes) -> None:
        if self.own is not None:
            self.own.feed(data)
        else:
            self.own = intake.feed(self, data, DIALECT)

    def receive(self, message: Any) -> None:
        self.messages.append((message.type, message.data))

    def fail(self, problem: BaseException) -> None:
        self.problems.append(problem)


def test_whole_messages_cost_no_reader_of_one_s_own() -> None:
    """Several connections in turn, and several messages at once."""
    intake, peers = Intake(), [Peer(), Peer()]
    for peer in (*peers, *peers):
        peer.take(intake, frame_bytes("a") + frame_bytes(b"x", PING))
    assert [peer.own for peer in peers] == [None, None]
    assert peers[0].messages == peers[1].messages
    assert peers[0].messages == [(WSMsgType.TEXT, "a"), (WSMsgType.PING, b"x")] * 2


@pytest.mark.parametrize(
    "wrong",
    [frame_bytes(b"\xff"), frame_bytes("x", 0x3), frame_bytes("x", CONTINUATION)],
    ids=["not UTF-8", "opcode", "continues nothing"],
)
def test_who_breaks_the_rules_is_not_parsed_any_more_and_the_others_are(wrong: bytes) -> None:
    """Each is told once what was wrong; the reader that failed is theirs."""
    intake, good, bad = Intake(), Peer(), Peer()
    good.take(intake, frame_bytes("before"))
    bad.take(intake, frame_bytes("before") + wrong)
    bad.take(intake, frame_bytes("later"))
    good.take(intake, frame_bytes("after"))

    assert [message for _, message in bad.messages] == ["before"]
    assert (len(bad.problems), bad.own is None) == (1, False)
    assert [message for _, message in good.messages] == ["before", "after"]
    assert (good.problems, good.own) == ([], None)


class Clumsy(Peer):
    """Has a fault of its own where a peer is to be told of one."""

    def fail(self, problem: BaseException) -> None:
        raise RuntimeError("a bug of ours")


def test_a_failure_in_telling_of_a_failure_is_nobody_else_s() -> None:
    """The next one gets a reader that reads."""
    intake, good = Intake(), Peer()
    with pytest.raises(RuntimeError):
        Clumsy().take(intake, frame_bytes("x", 0x3))

    good.take(intake, frame_bytes("after"))

    assert (good.messages, good.problems, good.own) == ([(WSMsgType.TEXT, "after")], [], None)


STREAM = [
    frame_bytes("one"),
    frame_bytes("frag", fin=False) + frame_bytes(b"p", PING) + frame_bytes("ment", CONTINUATION),
    frame_bytes(b"y" * 200, BINARY),
    frame_bytes("two") + frame_bytes("three"),
    frame_bytes("x" * 5000),
]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 300)), max_size=60))
def test_whatever_the_pieces_everyone_gets_what_a_reader_of_their_own_gives(
    steps: list[tuple[int, int]],
) -> None:
    """Three peers send the same stream in pieces of any size, in any order; the last message is too long."""
    data = b"".join(STREAM)
    intake, peers, models, at = Intake(), [Peer() for _ in range(3)], [Peer() for _ in range(3)], [0, 0, 0]
    readers = [Inbound(model) for model in models]
    for number, size in [*steps, *((number, len(data)) for number in range(3))]:
        piece = data[at[number] : at[number] + size]
        at[number] += size
        if piece:
            peers[number].take(intake, piece)
            readers[number].feed(piece)

    for peer, model in zip(peers, models, strict=True):
        assert peer.messages == model.messages
        assert [str(problem) for problem in peer.problems] == [str(problem) for problem in model.problems]


@pytest.mark.parametrize("extension", [None, "permessage-deflate"])
def test_a_reader_of_one_s_own_is_freed_with_its_connection(extension: str | None) -> None:
    """Without the collector, which does not look at what has lived for long; and it reads no more."""
    dialect = Dialects(1).of(None, extension)
    peer = Peer()
    own = Intake().feed(peer, frame_bytes("x" * 4000)[:-1], dialect)
    gc.collect()

    assert own is not None
    own.release()
    own.feed(b"more")
    del own

    assert gc.collect() == 0
    assert (peer.messages, peer.problems) == ([], [])
