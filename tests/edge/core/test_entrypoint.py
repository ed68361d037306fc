"""Paths that stand for channels."""

from __future__ import annotations

from typing import Any

import pytest

from fanwire_edge.core.entrypoint import (
    Entrypoint,
    InvalidEntrypoint,
    InvalidParameter,
    choose,
    parse_entrypoints,
)
from fanwire_edge.core.principal import Principal

SESSION = {
    "path": "/api/sessions/{session}/live",
    "channels": ["tenant:{tenant}:resource:sessions:{session}"],
    "names": {"session": "sessionId"},
}
JOB = {"path": "/ws?job-id={job}", "channels": ["tenant:{tenant}:resource:jobs:{job}"]}
ANN = Principal("ann", "acme", roles=("staff",), permissions=frozenset({"sessions:read", "jobs:read"}))


def parsed(**table: Any) -> Entrypoint:
    """Return the entrypoint of one table."""
    [found] = parse_entrypoints({"entrypoint": [table]})
    return found


def test_an_entrypoint_s_path_gives_parameters_channels_and_fields() -> None:
    """The tenant is the principal's, the rest is what the client came with."""
    entry = parsed(**SESSION).entry({"session": "s-1"}, {})

    assert entry.fields == {"sessionId": "s-1"}
    assert [channel.name for channel in entry.channels_for(ANN)] == ["tenant:acme:resource:sessions:s-1"]


def test_a_query_gives_parameters_too_and_names_need_not_be_given() -> None:
    """Then a field is called as the parameter is."""
    entry = parsed(**JOB).entry({}, {"job-id": ["job-123"], "other": ["x"]})

    assert entry.fields == {"job": "job-123"}
    assert [channel.name for channel in entry.channels_for(ANN)] == ["tenant:acme:resource:jobs:job-123"]


def test_channels_are_joined_once_and_may_be_the_user_s_or_patterns() -> None:
    """Two templates may turn out as the same channel."""
    templates = ("boards:{user}", "boards:{board}", "boards:*", "*")
    entrypoint = parsed(path="/b/{board}", channels=[f"tenant:{{tenant}}:resource:{t}" for t in templates])

    channels = entrypoint.entry({"board": "ann"}, {}).channels_for(ANN)

    assert [channel.name.removeprefix("tenant:acme:resource:") for channel in channels] == [
        "boards:ann",
        "boards:*",
        "*",
    ]


@pytest.mark.parametrize("value", ["", "a b", "a:b", "a/b", "*", "ä", "x" * 129, "a%2Fb", "{tenant}", "a\n"])
def test_a_parameter_is_a_segment(value: str) -> None:
    """Nothing else can stand in a channel, so nothing else is looked up; the text names the parameter."""
    with pytest.raises(InvalidParameter, match="session: is not 1 to 128"):
        parsed(**SESSION).entry({"session": value}, {})
    with pytest.raises(InvalidParameter, match="job: is not 1 to 128"):
        parsed(**JOB).entry({}, {"job-id": [value]})


@pytest.mark.parametrize("query", [{}, {"job-id": []}, {"job-id": ["a", "a"]}])
def test_a_parameter_of_the_query_is_there_once(query: dict[str, list[str]]) -> None:
    """Of two, others may have looked at the other one."""
    with pytest.raises(InvalidParameter, match="job-id: is needed, once"):
        parsed(**JOB).entry({}, query)


def test_parameters_may_be_too_long_together() -> None:
    """A channel has at most 255 characters."""
    path, channel = "/a/{a}/{b}", "tenant:{tenant}:resource:{a}:{b}"
    entry = parsed(path=path, channels=[channel]).entry({"a": "x" * 128, "b": "y" * 128}, {})

    with pytest.raises(InvalidParameter, match="at most 255"):
        entry.channels_for(ANN)


@pytest.mark.parametrize(
    ("permissions", "roles", "is_open"),
    [
        ([], [], True),
        (["sessions:read"], [], True),
        (["sessions:read", "jobs:read"], [], True),
        (["sessions:read", "other"], [], False),
        (["other"], [], False),
        ([], ["staff"], True),
        ([], ["admin", "staff"], True),
        ([], ["admin"], False),
        (["sessions:read"], ["admin"], False),
        (["other"], ["staff"], False),
    ],
)
def test_all_permissions_are_needed_and_one_of_the_roles(
    permissions: list[str], roles: list[str], is_open: bool
) -> None:
    """One of two permissions missing denies; an empty list permits."""
    entrypoint = parsed(path="/x", required_permissions=permissions, required_roles=roles)

    assert entrypoint.is_open_to(ANN) is is_open


def test_of_one_path_the_entrypoint_is_meant_that_asks_for_most() -> None:
    """And none where each lacks a parameter."""
    job = parsed(**JOB)
    part = parsed(path="/ws?job-id={job}&part={part}")

    assert choose([job, part], {"job-id", "part", "since"}) is part
    assert choose([job, part], {"job-id", "x"}) is job
    assert choose([job, part], {"part"}) is None
    assert choose([], {"part"}) is None
    assert choose([parsed(path="/ws"), job], set()) == parsed(path="/ws")


def test_tables_are_read_in_full() -> None:
    """Each key has its place."""
    entrypoint = parsed(**JOB, required_permissions=["a"], required_roles=["b"], reject="close")

    assert entrypoint == Entrypoint(
        "/ws",
        {"job-id": "job"},
        ("tenant:{tenant}:resource:jobs:{job}",),
        {},
        frozenset({"a"}),
        frozenset({"b"}),
        "close",
    )
    assert entrypoint.parameters == ("job",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"paht": "/x"}, "paht: no such key; did you mean 'path'"),
        ({"zzz": "/x"}, "zzz: no such key; known here: path, channels"),
        ({}, "path: None is no path .* for example /api/sessions"),
        ({"path": 1}, "path: 1 is no path"),
        ({"path": "x"}, "path: 'x' is no path"),
        ({"path": "/"}, "path: '/' is no path"),
        ({"path": "/x/"}, "is no path"),
        ({"path": "/healthz"}, "is no path"),
        ({"path": "/x{a}"}, "is no path"),
        ({"path": "/{A}"}, "is no path"),
        ({"path": "/x?"}, "is no path"),
        ({"path": "/x?a=b"}, "is no path"),
        ({"path": "/x?a={b}&"}, "is no path"),
        ({"path": "/x?token={b}"}, r"path: \?token= means something at any path"),
        ({"path": "/x?since={b}"}, r"path: \?since= means something at any path"),
        ({"path": "/{a}/{a}"}, "path: '/{a}/{a}' has a name twice"),
        ({"path": "/{a}?b={a}"}, "has a name twice"),
        ({"path": "/x?b={a}&b={c}"}, "has a name twice"),
        ({"path": "/{tenant}"}, "names tenant or user"),
        ({"path": "/x?u={user}"}, "names tenant or user"),
        ({"path": "/x", "reject": "no"}, "reject: 'no' is none of http, close; for example close"),
        ({"path": "/x", "channels": "a"}, "channels: is no list of strings; for example"),
        ({"path": "/x", "channels": [1]}, "channels: is no list of strings"),
        ({"path": "/x", "required_roles": [""]}, 'required_roles: is no list of strings; .*"admin"'),
        ({"path": "/x", "required_permissions": {}}, "required_permissions: is no list of strings"),
        ({"path": "/x/{a}", "names": []}, "names: is no map of parameters"),
        ({"path": "/x/{a}", "names": {"b": "c"}}, "names: a are not fields of parameters"),
        ({"path": "/x/{a}", "names": {"a": 1}}, "names: is no map of parameters"),
        ({"path": "/x/{a}", "names": {"a": ""}}, "names: is no map of parameters"),
        ({"path": "/x/{a}", "names": {"a": "clientId"}}, "names: clientId are not fields"),
        ({"path": "/x/{a}/{b}", "names": {"a": "b"}}, "names: b, b are not fields"),
        ({"path": "/x/{channels}"}, "names: channels are not fields"),
        (
            {"path": "/x/{a}", "channels": ["tenant:{tenant}:resource:a:{b}"]},
            r"channels: .* has {b}; known here: a, tenant, user",
        ),
        (
            {"path": "/x", "channels": ["tenant:{tenant}:resource"]},
            "channels: 'tenant:{tenant}:resource': after",
        ),
        (
            {"path": "/x", "channels": ["tenant:x:resource:a:b"]},
            "is no resource channel of the client's tenant",
        ),
        (
            {"path": "/x", "channels": ["tenant:{tenant}:all"]},
            "is no resource channel of the client's tenant",
        ),
        ({"path": "/x", "channels": ["system:all"]}, "is no resource channel of the client's tenant"),
    ],
)
def test_what_cannot_be_an_entrypoint_is_told(table: dict[str, Any], message: str) -> None:
    """The text names the key and what would work."""
    with pytest.raises(InvalidEntrypoint, match=message):
        parsed(**table)


@pytest.mark.parametrize(
    "document", [{}, {"entrypoint": {}}, {"entrypoint": ["x"]}, {"entrypoint": [], "other": 1}]
)
def test_a_document_holds_entrypoints_and_nothing_else(document: dict[str, Any]) -> None:
    """A key that is read by nobody is a mistake."""
    with pytest.raises(InvalidEntrypoint, match=r"holds \[\[entrypoint\]\] tables"):
        parse_entrypoints(document)


@pytest.mark.parametrize(
    ("one", "other"),
    [("/x/{a}", "/x/{b}"), ("/x?a={b}", "/x?a={c}"), ("/x?a={b}&c={d}", "/x?c={d}&a={b}")],
)
def test_what_no_request_could_tell_apart_is_refused(one: str, other: str) -> None:
    """Otherwise one of them would never be reached."""
    with pytest.raises(InvalidEntrypoint, match="is there twice"):
        parse_entrypoints({"entrypoint": [{"path": one}, {"path": other}]})
