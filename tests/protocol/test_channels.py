"""Channels and patterns (PROTOCOL §1)."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.channels import (
    MAX_NAME_BYTES,
    SYSTEM_ALL,
    ChannelKind,
    InvalidChannel,
    all_channel,
    connection_channel,
    covers,
    is_segment,
    matching_patterns,
    parse_channel,
    resource_channel,
    role_channel,
    user_channel,
)
from tests.protocol.vectors import joined, load

VECTORS = load("channels")
VALID_NAMES = [row["name"] for row in VECTORS["valid"]]
segments = st.text("ABCZabcz0189_.@+|~=-", min_size=1, max_size=40)


@pytest.mark.parametrize("row", VECTORS["valid"], ids=VALID_NAMES)
def test_a_valid_name_is_parsed_into_its_parts(row: dict[str, Any]) -> None:
    """Every part of a channel is where the contract puts it."""
    channel = parse_channel(row["name"])

    assert channel.name == row["name"]
    assert channel.kind is ChannelKind(row["kind"])
    assert (channel.tenant, channel.type, channel.id) == (row["tenant"], row["type"], row["id"])
    assert channel.is_pattern is row["name"].endswith("*")
    assert channel.is_server_joined is (row["kind"] != "resource")


@pytest.mark.parametrize("row", VECTORS["validRepeated"], ids=lambda row: row["why"])
def test_the_longest_names_are_valid(row: dict[str, Any]) -> None:
    """A segment may have 128 characters and a name 255."""
    parse_channel(joined(row["parts"]))


@pytest.mark.parametrize(
    "name",
    [row["name"] for row in VECTORS["invalid"]]
    + [joined(row["parts"]) for row in VECTORS["invalidRepeated"]],
    ids=lambda name: ascii(name[:60]),
)
def test_an_invalid_name_is_refused_with_the_rule_it_breaks(name: str) -> None:
    """Whatever is no channel raises InvalidChannel, whose text helps."""
    with pytest.raises(InvalidChannel, match=r"channel|segment|tenant"):
        parse_channel(name)


@given(st.text(max_size=300) | st.text(":*tenaresourcsyml", max_size=60))
def test_parsing_is_total(name: str) -> None:
    """Any text is a channel or InvalidChannel."""
    try:
        assert parse_channel(name).name == name
    except InvalidChannel:
        pass


@pytest.mark.parametrize("text", [":", "*", "a", "a:", "tenant:", "tenant:a:resource:*:", "\u0430:"])
def test_hostile_names_cost_their_length_at_most(text: str) -> None:
    """A megabyte of any shape is refused in well under a millisecond per kilobyte."""
    name = "tenant:" + text * (1_000_000 // len(text))
    start = time.perf_counter()
    with pytest.raises(InvalidChannel):
        parse_channel(name)
    assert not is_segment(name)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize("row", VECTORS["matching"], ids=lambda row: row["name"])
def test_a_channel_matches_the_patterns_of_its_own_segments(row: dict[str, Any]) -> None:
    """The patterns come from the name alone, narrowest first."""
    assert list(matching_patterns(row["name"])) == row["patterns"]


@pytest.mark.parametrize("row", VECTORS["covers"], ids=lambda row: f"{row['pattern']} {row['name']}")
def test_a_pattern_covers_what_it_stands_for_and_nothing_else(row: dict[str, Any]) -> None:
    """No pattern reaches beyond its type or its tenant."""
    assert covers(row["pattern"], row["name"]) is row["covers"]


@given(segments, segments, segments, segments)
def test_matching_and_covering_agree(tenant: str, type_: str, id_: str, other: str) -> None:
    """A pattern covers a channel exactly where it is among those that the channel matches."""
    name = resource_channel(tenant, type_, id_)
    patterns = [
        f"tenant:{t}:resource:{rest}" for t in (tenant, other) for rest in ("*", f"{type_}:*", f"{other}:*")
    ]

    for pattern in patterns:
        assert covers(pattern, name) is (pattern in matching_patterns(name))


@given(segments, segments, segments)
def test_built_names_are_parsed_back(tenant: str, type_: str, id_: str) -> None:
    """What the builders make from segments is the channel that was meant."""
    built = {
        ChannelKind.RESOURCE: resource_channel(tenant, type_, id_),
        ChannelKind.USER: user_channel(tenant, id_),
        ChannelKind.ROLE: role_channel(tenant, id_),
        ChannelKind.CONNECTION: connection_channel(tenant, id_),
        ChannelKind.ALL: all_channel(tenant),
        ChannelKind.SYSTEM: SYSTEM_ALL,
    }
    for kind, name in built.items():
        channel = parse_channel(name)
        assert channel.kind is kind
        assert channel.tenant == (None if kind is ChannelKind.SYSTEM else tenant)
        assert channel.id == (None if kind in (ChannelKind.ALL, ChannelKind.SYSTEM) else id_)
        assert len(name) <= MAX_NAME_BYTES


@given(st.characters())
def test_segments_have_no_other_characters(character: str) -> None:
    """Of all characters of Unicode only the listed ASCII ones stand in a segment."""
    allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+|~=-"
    assert is_segment(character) is (character in allowed)
