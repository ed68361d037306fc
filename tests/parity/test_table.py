"""Tables say what is wrong with them, and no credential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanwire_parity import InvalidTable, Row, Table, load

API, EDGE = "http://localhost:8000", "ws://localhost:8080/ws"
CHANNEL = "tenant:acme:resource:orders:1"
HEAD = f'api = "{API}"\nedge = "{EDGE}"\n'
ROW = f'[[rows]]\nchannel = "{CHANNEL}"\nroute = "/orders/1"\n'
FILE = f"{HEAD}[users]\nnobody = {{}}\n{ROW}"


def read(folder: Path, text: str, environment: dict[str, str] | None = None) -> Table:
    """Load *text* as a file."""
    path = folder / "parity.toml"
    path.write_text(text)
    return load(path, environment or {})


def test_a_row_with_variables_stands_for_every_combination() -> None:
    """In both of its texts; a variable may stand in one of them only."""
    rows = Row.each("tenant:{t}:resource:orders:{id}", "/{t}/orders?of={id}", t=["a", "b"], id=["1", "2"])

    assert [(row.channel, row.route) for row in rows] == [
        ("tenant:a:resource:orders:1", "/a/orders?of=1"),
        ("tenant:a:resource:orders:2", "/a/orders?of=2"),
        ("tenant:b:resource:orders:1", "/b/orders?of=1"),
        ("tenant:b:resource:orders:2", "/b/orders?of=2"),
    ]
    assert Row.each("x", "/y", users=["alice"]) == [Row("x", "/y", ("alice",))]


@pytest.mark.parametrize("values", [{}, {"id": ["1"], "other": ["2"]}], ids=["too few", "too many"])
def test_a_variable_without_values_is_refused(values: dict[str, list[str]]) -> None:
    """And values without a variable."""
    with pytest.raises(InvalidTable, match=r"row orders:\{id\}"):
        Row.each("orders:{id}", "/orders/{id}", (), **values)


def test_rows_are_asked_once_and_only_for_those_whom_they_name() -> None:
    """Without names for all."""
    one, two = Row("a", "/a"), Row("b", "/b", ("bob",))
    table = Table(API, EDGE, {"alice": None, "bob": "t"}, [one, two, one])

    assert table.rows_of("alice") == [one]
    assert table.rows_of("bob") == [one, two]
    assert table.only("bob").users == {"bob": "t"}
    assert table.only("bob").rows_of("bob") == [Row("a", "/a", ("bob",)), two]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"api": "localhost:8000"}, "^api: .* for example http://"),
    ({"edge": "http://localhost"}, "^edge: .* for example ws://"),
    ({"users": {}}, "nothing would be compared"),
    ({"rows": []}, "nothing would be compared"),
    ({"rows": [Row("a", "a")]}, "row a: the route 'a' does not begin"),
    ({"rows": [Row("a", "/a", ("eve",))]}, "row a: eve is not among the users"),
]


@pytest.mark.parametrize(("change", "text"), WRONG, ids=[row[1] for row in WRONG])
def test_a_table_that_cannot_be_compared_is_refused(change: dict[str, Any], text: str) -> None:
    """With what is wrong and what would work."""
    given: dict[str, Any] = {"api": API, "edge": EDGE, "users": {"alice": "t"}, "rows": [Row("a", "/a")]}
    with pytest.raises(InvalidTable, match=text):
        Table(**given | change)


def test_no_repr_shows_a_credential() -> None:
    """A table may stand in the message of a failed assertion."""
    assert "hunter2" not in repr(Table(API, EDGE, {"alice": "hunter2"}, [Row("a", "/a")]))


def test_a_file_is_a_table(tmp_path: Path) -> None:
    """Credentials come from the environment, or stand there; every other key of a row is a variable."""
    text = f"""
        api = "{API}"
        edge = "{EDGE}"
        origin = "https://app.example.com"
        timeout_seconds = 2.5
        [users]
        alice = {{ token_env = "ALICE" }}
        bob = {{ token = "b" }}
        carol = {{ headers_env = {{ "X-API-Key" = "CAROL" }} }}
        dave = {{ headers = {{ Cookie = "session=d" }} }}
        nobody = {{}}
        [[rows]]
        channel = "orders:{{id}}"
        route = "/orders/{{id}}"
        id = ["1", "2"]
        users = ["alice"]
    """
    table = read(tmp_path, text, {"ALICE": "a", "CAROL": "c"})

    assert (table.api, table.edge, table.origin) == (API, EDGE, "https://app.example.com")
    assert table.timeout_seconds == 2.5
    headers = ({"X-API-Key": "c"}, {"Cookie": "session=d"})
    assert [*table.users.values()] == ["a", "b", *headers, None]
    assert table.rows == [Row("orders:1", "/orders/1", ("alice",)), Row("orders:2", "/orders/2", ("alice",))]


def test_the_environment_says_where_to_ask(tmp_path: Path) -> None:
    """The same table is for a laptop and for a staging system."""
    where = {
        "FANWIRE_PARITY_API": "https://api.example.com",
        "FANWIRE_PARITY_EDGE": "wss://live.example.com/ws",
    }
    table = read(tmp_path, FILE, where)

    assert [table.api, table.edge] == list(where.values())


BROKEN = [
    ("api =", "is no TOML file"),
    (FILE.replace("api =", "apy ="), "the file: apy is unknown; known: api, edge"),
    (FILE.replace("nobody = {}", "nobody = 1"), "nobody: is no table"),
    (FILE.replace("nobody = {}", 'a = { tokn = "x" }'), "user a: tokn is unknown; known: .*token_env"),
    (
        FILE.replace("nobody = {}", 'a = { token = "hunter2", token_env = "A" }'),
        "user a: token and token_env",
    ),
    (FILE.replace("nobody = {}", 'a = { token = "" }'), "user a: token: is not given"),
    (FILE.replace("nobody = {}", 'a = { token_env = "A" }'), "user a: set A to the credential"),
    (FILE.replace("nobody = {}", "a = { headers = 1 }"), "user a: headers: is no table"),
    (FILE.replace("[users]", "[[users]]"), "users: is no table"),
    (HEAD + "[users]\nnobody = {}\n[rows]\n", r"rows: each begins with \[\[rows\]\]"),
    (FILE + 'id = "1"\n', "id is no list"),
    (FILE + "id = [1]\n", "id is no list"),
    (FILE.replace('route = "/orders/1"\n', ""), "rows: route: is not given"),
    ("timeout_seconds = 0\n" + FILE, "timeout_seconds: 0 is no number above zero"),
    (FILE.replace(f'edge = "{EDGE}"', ""), "edge: is not given"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[row[1] for row in BROKEN])
def test_a_file_that_is_no_table_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    """One line, without a credential."""
    with pytest.raises(InvalidTable, match=message) as caught:
        read(tmp_path, text)

    assert str(caught.value).startswith(str(tmp_path / "parity.toml"))
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With what the system says of it."""
    with pytest.raises(InvalidTable, match="No such file"):
        load(tmp_path / "parity.toml")
