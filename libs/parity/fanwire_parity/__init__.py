"""REST parity: a subscription is answered as the REST API answers, for a table of users and channels."""

from fanwire_parity._comparison import Cell, Comparison, Disagreements, expected_answer
from fanwire_parity._file import load
from fanwire_parity._parity import assert_parity, compare
from fanwire_parity._table import Credential, InvalidTable, Row, Table

__all__ = [
    "Cell",
    "Comparison",
    "Credential",
    "Disagreements",
    "InvalidTable",
    "Row",
    "Table",
    "assert_parity",
    "compare",
    "expected_answer",
    "load",
]
