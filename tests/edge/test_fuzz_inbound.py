"""Any bytes, before and after the upgrade, lead to frames or to one of the documented ends (PROTOCOL §5).

A real edge on real sockets; the parsers by themselves are in tests/protocol/test_fuzz_parsers.py.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from tests.edge.running import NO_BUDGETS, RunningEdge, running_edge
from tests.edge.wire import TEXT, frame_bytes, upgrade_request
from tests.faults.rig import rounds, say
from tests.fuzz.conversations import request, talk
from tests.fuzz.peer import HEAD_END, Peer, check_frames, check_http
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

# Of the long form.
pytestmark = pytest.mark.timeout(600)
BATCH = 50
# Of the whole process, while it is sent megabytes of what makes no sense.
MAX_GROWTH_KB = 8 * 1024
# What an edge has open that serves nobody, and some to spare; a batch that stayed would be more.
MAX_FILES = 40

Conversation = Callable[[Random], Coroutine[None, None, str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fuzzed_edge(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """An edge of this file's own, because all of its log is looked at."""
    redis = SharedRedis(session_redis, f"fuzzed-{loop_name}")
    async with running_edge(redis, EDGE__LOOP=loop_name, **NO_BUDGETS) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty_edge(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """One that does not wait long for the end of a request."""
    redis = SharedRedis(session_redis, f"hasty-{loop_name}")
    async with running_edge(
        redis, EDGE__LOOP=loop_name, EDGE__UPGRADE_SECONDS="0.5", HEARTBEAT__INTERVAL="0.5", **NO_BUDGETS
    ) as running:
        yield running


async def test_any_bytes_after_the_upgrade_end_as_documented(fuzzed_edge: RunningEdge) -> None:
    """In frames, in one of five closes, in the peer's own close or in nothing; whatever the segments."""
    token = fuzzed_edge.token()
    opening = upgrade_request(f"Authorization: Bearer {token}")

    async def converse(random: Random) -> str:
        segments = talk(random)
        async with Peer.dial(fuzzed_edge.port) as peer:
            await peer.say([opening])
            assert await peer.upgraded()
            await peer.say(segments)
            await peer.leave()
        code = check_frames(peer.answers.partition(HEAD_END)[2], was_reset=peer.was_reset)
        return str(code)

    await _fuzz(fuzzed_edge, converse, "frames", rounds(6, 100))


async def test_any_bytes_instead_of_an_upgrade_are_answered_or_cut_off(hasty_edge: RunningEdge) -> None:
    """By a status that is documented, without the token; what is upgraded after all is served."""
    token = hasty_edge.token()

    async def converse(random: Random) -> str:
        segments = request(random, token)
        async with Peer.dial(hasty_edge.port) as peer:
            await peer.say(segments)
            is_upgraded = await peer.upgraded()
            await (peer.leave() if is_upgraded else peer.end())
        answers = peer.answers
        if is_upgraded:
            answers, _, frames = answers.partition(HEAD_END)
            check_frames(frames, was_reset=peer.was_reset)
        return str(check_http(answers, token))

    await _fuzz(hasty_edge, converse, "requests", rounds(3, 60))


NO_HTTP: list[tuple[str, Callable[[str], bytes]]] = [
    ("a control character in a header", lambda word: upgrade_request(f"Authorization: Bearer \x01{word}")),
    ("too long a header", lambda word: upgrade_request(f"X-Long: {word * 500}")),
    ("a blank before the colon", lambda word: upgrade_request(f"Authorization : Bearer {word}")),
    ("too long a path", lambda word: upgrade_request(path=f"/ws?token={word * 500}")),
    ("no HTTP at all", lambda word: f"{word}\r\n\r\n".encode()),
    ("another version", lambda word: upgrade_request(f"X: {word}", http="9.9")),
    ("two sizes", lambda word: upgrade_request(f"X: {word}", "Content-Length: 1", "Content-Length: 2")),
]


@pytest.mark.parametrize(("_", "ask"), NO_HTTP, ids=[row[0] for row in NO_HTTP])
async def test_what_is_no_http_is_told_so_and_none_of_it_is_repeated(
    fuzzed_edge: RunningEdge, _: str, ask: Callable[[str], bytes]
) -> None:
    """In the form of every other refusal (PROTOCOL §2), and the connection is closed."""
    word = "secret-0123456789-abcdef"
    async with await fuzzed_edge.dial() as wire:
        answer = await wire.ask(ask(word))

        assert (answer.status, answer.error["code"]) == (400, "bad_request")
        assert word not in str(answer)
        assert await wire.rest() == b""


@pytest.mark.parametrize("version", ["13", "8"])
async def test_a_key_that_is_not_ascii_is_400(fuzzed_edge: RunningEdge, version: str) -> None:
    """Found by fuzzing: one that has no encoding was hashed before anything else was looked at."""
    async with await fuzzed_edge.dial() as wire:
        request = upgrade_request(version=version, key="\xe4" * 24)

        assert (await wire.ask(request)).error["code"] == "bad_request"


ENDLESS = [
    ("empty fragments", frame_bytes(b"", TEXT, fin=False), frame_bytes(b"", 0, fin=False) * 1000),
    ("PINGs in a message", frame_bytes(b"{", TEXT, fin=False), frame_bytes(b"x" * 125, 0x9) * 1000),
    ("what comes behind a mistake", frame_bytes(b"", 0), frame_bytes(b"x" * 4000) * 50),
    ("what comes behind a CLOSE", frame_bytes(b"\x03\xe8", 0x8), frame_bytes(b"x" * 4000) * 50),
]


@pytest.mark.parametrize(("_", "begin", "more"), ENDLESS, ids=[row[0] for row in ENDLESS])
async def test_what_never_ends_is_not_kept(
    fuzzed_edge: RunningEdge, _: str, begin: bytes, more: bytes
) -> None:
    """A peer may send on and on: what the edge holds of it does not grow."""
    before = _resident_kb(fuzzed_edge)
    async with Peer.dial(fuzzed_edge.port) as peer:
        await peer.say([upgrade_request(f"Authorization: Bearer {fuzzed_edge.token()}")])
        assert await peer.upgraded()
        await peer.say([begin, *[more] * rounds(8, 40)])
        await peer.leave()
        assert _resident_kb(fuzzed_edge) - before < MAX_GROWTH_KB
    await _is_as_before(fuzzed_edge)


async def _fuzz(edge: RunningEdge, converse: Conversation, name: str, batches: int) -> None:
    """Hold *batches* of conversations at once, and look after each whether the edge is as it was."""
    ends: Counter[str] = Counter()
    async with edge.client() as honest:
        for batch in range(batches):
            async with asyncio.TaskGroup() as tasks:
                held = [
                    tasks.create_task(_held(converse, f"{name} {batch} {number}")) for number in range(BATCH)
                ]
            ends.update(task.result() for task in held)
            # Who was there all the time, and who comes.
            await honest.silence()
            await _is_as_before(edge, connections=1)
        async with edge.client() as newcomer:
            await newcomer.silence()
    say(f"{name}: {ends.total()} conversations ended in {dict(ends.most_common())}")
    assert len(ends) >= 5, f"they are too much alike: {ends}"


async def _held(converse: Conversation, seed: str) -> str:
    try:
        return await converse(Random(seed))
    except BaseException as problem:
        problem.add_note(f"the seed was {seed!r}")
        raise


async def _is_as_before(edge: RunningEdge, connections: int = 0) -> None:
    """Check that no connection is left, no file, no task and no word of a failure."""

    async def has_forgotten() -> bool:
        assert await edge.metric("connections_active") == connections
        return _open_files(edge) <= MAX_FILES

    await eventually(has_forgotten)
    output = edge.process.output
    assert not re.search(r"Traceback| ERROR | CRITICAL ", output), output[-6000:]


def _open_files(edge: RunningEdge) -> int:
    return len(list(Path(f"/proc/{edge.process.pid}/fd").iterdir()))


def _resident_kb(edge: RunningEdge) -> int:
    status = Path(f"/proc/{edge.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])
