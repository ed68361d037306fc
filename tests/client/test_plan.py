"""Commands within 4,096 bytes, as few as it takes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from fanwire_client._plan import plan_subscribe, plan_unsubscribe
from fanwire_protocol.commands import MAX_COMMAND_BYTES, Command, encode_command
from fanwire_protocol.position import Position

NAMES = st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=60, unique=True)


def positions(topics: int, width: int = 8) -> dict[str, Position]:
    """Return positions of so many topics, whose names have this width."""
    return {f"{number:0{width}}": Position("1732096800123-0", "5f0c2a91") for number in range(topics)}


@given(names=NAMES, topics=st.none() | st.integers(0, 200))
def test_every_name_stands_in_one_command_within_the_limit(names: list[str], topics: int | None) -> None:
    """Whatever the names are, none is lost or doubled, the order stays, and no command is too long."""
    since = None if topics is None else positions(topics)

    joining = list(plan_subscribe(names, since, itertools.count(1)))
    leaving = list(plan_unsubscribe(names, itertools.count(1)))

    assert [name for _, command in joining for name in command.channels] == names
    assert [name for command in leaving for name in command.channels] == names
    assert [number for number, _ in joining] == [command.reply_to for _, command in joining]
    commands: list[Command] = [*leaving, *(command for _, command in joining)]
    assert max(len(encode_command(command)) for command in commands) <= MAX_COMMAND_BYTES


def test_commands_are_filled() -> None:
    """A name goes into the next command only where it does not fit into this one."""
    names = [f"tenant:acme:resource:orders:{number:04}" for number in range(500)]

    commands = [command for _, command in plan_subscribe(names, positions(4), itertools.count(1))]

    sizes = [len(encode_command(command)) for command in commands]
    assert min(sizes[:-1]) > MAX_COMMAND_BYTES - len(names[0]) - 32


def test_positions_that_leave_no_room_are_left_out() -> None:
    """Channels are joined all the same; the session then tells of the gap itself."""
    ((_, command),) = plan_subscribe(["x" * 255], positions(30, 128), itertools.count(1))

    assert command.since is None


def test_nothing_to_leave_is_no_command() -> None:
    """Without names there is no command."""
    assert list(plan_unsubscribe([], itertools.count(1))) == []
