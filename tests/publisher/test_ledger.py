"""The commands that a publisher derives from what it knows, without a broker."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from fanwire_publisher import PartitionsConflict, PublisherOptions
from fanwire_publisher._ledger import MAX_REMEMBERED, Ledger
from fanwire_publisher._record import Record

INFO_A = {"master_replid": "aaaaaaaa" * 5}
INFO_B = {"master_replid": "bbbbbbbb" * 5}
RECORD = Record("orders", "acme", "e-1", b"data")
FIRST_MS = 1_732_096_800_123


def ready(ledger: Ledger, topic: str = "orders", now: float = 0.0) -> Ledger:
    """Bring *ledger* behind setup of a topic that was known before."""
    assert ledger.take_setup(topic, [1, b"1", 0, INFO_A], now) is False
    return ledger


def names(commands: tuple[tuple[object, ...], ...]) -> list[object]:
    return [command[0] for command in commands]


def test_an_event_after_setup_costs_one_command_for_a_second() -> None:
    """Registration and identity go along once a second, before the entry; the first one also trims."""
    ledger = ready(Ledger(PublisherOptions()))

    first = ledger.batch([RECORD], 0.1)
    ledger.take_batch(first, [b"5-0"], 0.1)
    second = ledger.batch([RECORD], 0.9)
    later = ledger.batch([RECORD], 1.0)

    assert names(first.commands) == ["XADD", "XTRIM"]
    assert names(second.commands) == ["XADD"]
    assert names(later.commands) == ["SADD", "INFO", "XADD"]


def test_retention_counts_from_the_last_id_of_the_stream() -> None:
    """The first entry trims nothing by age, the next what is older than the retention."""
    ledger = ready(Ledger(PublisherOptions(retention_seconds=60)))
    first = ledger.batch([RECORD], 0.0)
    ledger.take_batch(first, [f"{FIRST_MS}-0".encode()], 0.0)

    second = ledger.batch([RECORD], 0.0)

    assert first.commands[0] == ("XADD", "fanwire:orders:0", "*", b"e", b"data")
    assert second.commands[0] == (
        ("XADD", "fanwire:orders:0", "MINID", "~", FIRST_MS - 60_000, "*", b"e", b"data")
    )


def test_several_records_are_one_transaction() -> None:
    """Several entries are added together or not at all, and each gets its position."""
    ledger = ready(Ledger(PublisherOptions()))
    batch = ledger.batch([RECORD, RECORD], 0.0)

    positions = ledger.take_batch(batch, [b"OK", b"QUEUED", b"QUEUED", [b"5-0", b"5-1"], 0], 0.0)

    assert names(batch.commands) == ["MULTI", "XADD", "XADD", "EXEC", "XTRIM"]
    assert [str(position) for position in positions] == ["5-0~aaaaaaaa", "5-1~aaaaaaaa"]


def test_trimming_by_count_comes_every_thousand_entries() -> None:
    """After the first one, a stream is trimmed by count once per 1,000 entries."""
    ledger = ready(Ledger(PublisherOptions()))

    trimmed = [len(ledger.batch([RECORD], 0.0).commands) == 2 for _ in range(2001)]

    assert [index for index, has_trim in enumerate(trimmed) if has_trim] == [0, 1000, 2000]


def test_another_identity_makes_every_topic_start_anew() -> None:
    """When the broker changed, the position says so and other topics need setup again."""
    ledger = ready(ready(Ledger(PublisherOptions())), "invoices")
    batch = ledger.batch([RECORD], 2.0)

    [position] = ledger.take_batch(batch, [0, INFO_B, b"5-0"], 2.0)

    assert position.broker == "bbbbbbbb"
    assert not ledger.needs_setup("orders")
    assert ledger.needs_setup("invoices")


def test_topic_that_was_gone_is_announced_again() -> None:
    """Where the registration was lost, the next setup announces the topic; once."""
    ledger = ready(Ledger(PublisherOptions()))
    batch = ledger.batch([RECORD], 2.0)
    ledger.take_batch(batch, [1, INFO_A, b"5-0"], 2.0)

    assert ledger.needs_setup("orders")
    assert ledger.take_setup("orders", [0, b"1", 0, INFO_A], 2.0) is True
    assert not ledger.needs_setup("orders")


def test_event_counts_though_the_refresh_beside_it_failed() -> None:
    """A refused registration does not fail the entry that was added; the next event meets it in setup."""
    ledger = ready(Ledger(PublisherOptions()))
    batch = ledger.batch([RECORD], 2.0)

    [position] = ledger.take_batch(batch, [ResponseError("NOPERM"), INFO_A, b"5-0"], 2.0)

    assert str(position) == "5-0~00000000"
    assert ledger.needs_setup("orders")


def test_forgetting_keeps_the_number_of_partitions() -> None:
    """After an error everything is asked again, and the number once taken is held to."""
    ledger = Ledger(PublisherOptions())
    ledger.take_setup("orders", [0, b"4", 0, INFO_A], 0.0)
    ledger.forget()

    assert ledger.needs_setup("orders")
    assert ledger.setup("orders")[0] == ("HSETNX", "fanwire:_config", "partitions", 4)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (b"2", "is 2 and this process has partitions=8: take 2"),
        (b"none", "'none'"),
        (b"0", "'0'"),
        (None, "None"),
    ],
)
def test_another_number_of_partitions_is_a_conflict(stored: bytes | None, words: str) -> None:
    """The error names both numbers and what would work."""
    ledger = Ledger(PublisherOptions(partitions=8))

    with pytest.raises(PartitionsConflict, match=words):
        ledger.take_setup("orders", [0, stored, 0, INFO_A], 0.0)


def test_memory_of_topics_and_streams_is_bounded() -> None:
    """However many topics come, only so many are remembered, and a forgotten one is set up again."""
    ledger = Ledger(PublisherOptions())
    for number in range(MAX_REMEMBERED + 1):
        ready(ledger, f"t{number}")

    assert ledger.needs_setup("t0")
    assert not ledger.needs_setup(f"t{MAX_REMEMBERED}")


@pytest.mark.parametrize(
    "fields",
    [
        {"prefix": ""},
        {"prefix": "a b"},
        {"partitions": 0},
        {"partitions": 1025},
        {"retention_seconds": 0},
        {"max_entries": 0},
        {"retry_seconds": 0},
        {"retry_seconds": 60.1},
        {"max_connections": 0},
    ],
)
def test_option_out_of_bounds_is_refused_by_name(fields: dict[str, float]) -> None:
    """A ValueError names the option and its bounds."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        PublisherOptions(**fields)  # type: ignore[arg-type]
