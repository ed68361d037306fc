"""Strict JSON and msgpack."""

import json
import math
import time
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanwire_protocol.codec import (
    ENVELOPE_DEPTH,
    MAX_DEPTH,
    InvalidData,
    decode,
    decode_json,
    decode_msgpack,
    decode_msgpack_beginning,
    encode,
    encode_json,
    encode_msgpack,
    refuse_unsendable,
)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> Any:
    """Return that many lists, one in the other."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@given(values)
def test_what_may_be_sent_comes_back_from_both_formats(value: Any) -> None:
    """JSON and msgpack carry the same values, unchanged."""
    refuse_unsendable(value)

    assert decode_json(encode_json(value)) == value
    assert decode_json(encode_json(value).decode()) == value
    assert decode_msgpack(encode_msgpack(value)) == value
    for encoding in ("json", "msgpack"):
        assert decode(encode(value, encoding), encoding) == value


def test_text_is_no_msgpack() -> None:
    """Whoever is given it refuses it as it refuses bytes that do not decode."""
    assert decode("1", "json") == 1
    with pytest.raises(InvalidData, match="not valid msgpack"):
        decode("1", "msgpack")


@given(st.binary(max_size=200))
@example(b"\xc1")
@example(b"\xdf\xff\xff\xff\xff")
def test_any_bytes_decode_or_are_invalid_data(data: bytes) -> None:
    """Both decoders are total: a value that can be sent on, or InvalidData."""
    for decoded in (decode_json, decode_msgpack):
        try:
            refuse_unsendable(decoded(data))
        except InvalidData:
            pass


@given(st.text('{}[]":,0123456789.eE+-truefalsn\\u ', max_size=80))
def test_any_json_like_text_decodes_or_is_invalid_data(text: str) -> None:
    """What the decoder accepts is what the standard library accepts, minus what is refused on purpose."""
    try:
        assert decode_json(text) == json.loads(text)
    except InvalidData:
        pass


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "finite"),
        ("18446744073709551616", "64 bits"),
        ("-9223372036854775809", "64 bits"),
        ("9" * 5000, "not valid JSON"),
        ('{"a":1,"a":1}', "twice"),
        ('"\\ud800"', "surrogate"),
        ("\ufeff1", "not valid JSON"),
        ("1 2", "not valid JSON"),
        ("", "not valid JSON"),
        ('"\n"', "not valid JSON"),
        ("[" * 4000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("[" * 33 + "]" * 33, "32 levels"),
        (b"\xff", "not valid JSON"),
        (b"\xed\xa0\x80", "not valid JSON"),
    ],
    ids=lambda given: ascii(given[:20]),
)
def test_json_that_readers_disagree_about_is_refused(text: str | bytes, problem: str) -> None:
    """NaN, doubled keys, lone surrogates, huge numbers and deep nesting never reach the program."""
    with pytest.raises(InvalidData, match=problem):
        decode_json(text)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="the unused byte"),
        pytest.param(b"\x01\x01", id="two values"),
        pytest.param(b"\xc4\x01x", id="bytes"),
        pytest.param(b"\xc4\x00", id="no bytes"),
        pytest.param(b"\xd4\x05x", id="extension"),
        pytest.param(b"\xc7\x00\x05", id="empty extension"),
        pytest.param(b"\xd6\xff\x00\x00\x00\x00", id="timestamp"),
        pytest.param(b"\xa1\xff", id="not UTF-8"),
        pytest.param(b"\x81\x01\x01", id="a number as key"),
        pytest.param(b"\x81\x90\x01", id="a list as key"),
        pytest.param(b"\x81\xc4\x00\x01", id="bytes as key"),
        pytest.param(b"\x82\xa1a\x01\xa1a\x02", id="a key twice"),
        pytest.param(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", id="NaN"),
        pytest.param(b"\xca\x7f\x80\x00\x00", id="infinity"),
        pytest.param(b"\x91" * 33 + b"\x01", id="33 levels"),
        pytest.param(b"\x91" * 500 + b"\x01", id="500 levels"),
        pytest.param(b"\x91" * 100_000 + b"\x01", id="100,000 levels"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="4 billion items promised"),
        pytest.param(b"\xdb\xff\xff\xff\xff", id="4 GB of text promised"),
    ],
)
def test_msgpack_beyond_json_is_refused(data: bytes) -> None:
    """Only what JSON can carry too is taken out of a log."""
    with pytest.raises(InvalidData):
        decode_msgpack(data)


@pytest.mark.parametrize(
    "data",
    [b"\xdc\x10\x00" * 1365, b"\xdd\x00\x06\x00\x00" * 80_000, b"\xdf\x00\x06\x00\x00\xa0" * 80_000],
    ids=["4 KB of lists", "400 KB of lists", "480 KB of maps"],
)
def test_headers_that_promise_too_much_reserve_nothing(data: bytes) -> None:
    """Nested promises, which cost an unguarded decoder tens of megabytes, cost kilobytes here."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidData):
            decode_msgpack(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(data) + 100_000


def test_a_long_key_over_many_items_costs_linear_time() -> None:
    """Checking builds no path per item: a megabyte takes a fraction of a second, not minutes."""
    value = {"k" * 500_000: [1] * 500_000}
    data = encode_msgpack(value)
    start = time.perf_counter()
    assert decode_msgpack(data) == value
    assert time.perf_counter() - start < 5.0


@pytest.mark.parametrize(
    ("value", "place", "problem"),
    [
        (math.nan, "$", "finite"),
        ([math.inf], "$[0]", "finite"),
        ({"a": {"b": [1, 2**64]}}, "$.a.b[1]", "64 bits"),
        (-(2**63) - 1, "$", "64 bits"),
        ("\ud800", "$", "surrogate"),
        ({"a": ["é", "é\ud800"]}, "$.a[1]", "surrogate"),
        ({"\ud800": 1}, "$", "surrogate"),
        ({"é": {1: 2}}, "$.é", "a key is a string, not int"),
        ({None: 2}, "$", "a key is a string, not NoneType"),
        ((1, b"x"), "$[1]", "bytes cannot be sent"),
        ({"when": {1, 2}}, "$.when", "set cannot be sent"),
        (..., "$", "ellipsis cannot be sent"),
        ({"a\nb": math.nan}, "$.'a\\nb'", "finite"),
        ({"k" * 1000: math.nan}, "$." + "k" * 64, "finite"),
    ],
    ids=lambda given: ascii(given)[:40],
)
def test_what_cannot_be_sent_is_named_with_its_place(value: object, place: str, problem: str) -> None:
    """The error says what is wrong and where, in one short line."""
    with pytest.raises(InvalidData, match=problem) as caught:
        refuse_unsendable(value)

    assert caught.value.path == place
    assert str(caught.value) == f"{place}: {caught.value.reason}"
    assert "\n" not in str(caught.value)


def test_subclasses_are_refused() -> None:
    """A type that merely looks like a plain one would not come back as it went."""

    class Number(int):
        pass

    with pytest.raises(InvalidData, match="Number cannot be sent"):
        refuse_unsendable({"n": Number(1)})


def test_the_depth_of_values_is_bounded() -> None:
    """32 levels pass, 33 do not, and levels around the value count."""
    refuse_unsendable(nested(MAX_DEPTH))
    refuse_unsendable(nested(MAX_DEPTH - ENVELOPE_DEPTH), "payload", ENVELOPE_DEPTH)

    with pytest.raises(InvalidData, match="32 levels"):
        refuse_unsendable(nested(MAX_DEPTH + 1))
    with pytest.raises(InvalidData, match=r"^payload\[0\].*32 levels"):
        refuse_unsendable(nested(MAX_DEPTH - ENVELOPE_DEPTH + 1), "payload", ENVELOPE_DEPTH)


def test_a_value_in_itself_is_too_deep() -> None:
    """A cycle ends at the bound instead of never."""
    loop: list[Any] = []
    loop.extend([loop, loop])
    with pytest.raises(InvalidData, match="32 levels"):
        refuse_unsendable(loop)


def test_tuples_are_sent_as_lists() -> None:
    """Both formats know one kind of list."""
    assert decode_json(encode_json((1, ("a",)))) == decode_msgpack(encode_msgpack((1, ("a",)))) == [1, ["a"]]


def test_json_is_compact_and_readable() -> None:
    """No spaces, and text stays text."""
    assert encode_json({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()


def test_msgpack_is_what_the_library_writes() -> None:
    """Nothing of our own stands between a publisher and the format."""
    value = {"a": [1, -1, 2.5, None, True, "é"]}
    assert encode_msgpack(value) == msgpack.packb(value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x83\xa1a\x01\xa1b\x92\x01\x02", ({"a": 1, "b": [1, 2]}, 3)),
        (b"\x80", ({}, 0)),
        (b"", None),
        (b"\x92\x01\x02", None),
        (b"\x82\xa1a", None),
        (b"\x82\xa1a\xa5cut", None),
        (b"\x82\x91\xa1a\x01", None),
        (b"\x82\xa1a\x01\xa1a\x02", None),
        (b"\x82\xa1a\xa1\xff", None),
    ],
    ids=[
        "fields",
        "none",
        "nothing",
        "no map",
        "no value",
        "cut",
        "a list as key",
        "a key twice",
        "no UTF-8",
    ],
)
def test_the_beginning_of_a_map_is_its_first_fields(data: bytes, found: Any) -> None:
    """With how many there are in all; what does not end with a field is no beginning."""
    assert decode_msgpack_beginning(data) == found
