"""`fanwire check-history`: judges a recorded history and names what breaks the promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fanwire_cli.arguments import Parser
from fanwire_cli.failure import Failure
from fanwire_cli.history import InvalidHistory, Report, Source, check_history
from fanwire_protocol.codec import encode_json

__all__ = ["run"]


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print the report; return 1 where something is wrong. Raises Failure where a file cannot be read."""
    options = _parser().parse_args(argv)
    try:
        report = check_history([Source(name, _lines(name)) for name in options.files], limit=options.limit)
    except InvalidHistory as error:
        raise Failure(str(error), status=2) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"the history cannot be read: {error}", status=2) from error
    print(_shown(report, as_json=options.json))
    return 0 if report.is_clean(strict=options.strict) else 1


def _lines(name: str) -> Iterator[str]:
    with Path(name).open(encoding="utf-8") as file:
        yield from file


def _shown(report: Report, *, as_json: bool) -> str:
    return encode_json(report.fields()).decode() if as_json else str(report)


def _parser() -> Parser:
    parser = Parser(
        prog="fanwire check-history",
        description="Judge a recorded history: every event exactly once and in order, or a gap that tells of "
        "it, and nothing to anyone who may not have it.",
        epilog="Exit code: 0 clean, 1 something is wrong, 2 the history cannot be read. The format stands in "
        "docs/guides/history.md.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON lines; all of one history together")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--strict", action="store_true", help="gaps that tell of nothing are wrong, too")
    parser.add_argument(
        "--limit",
        type=int,
        default=100,
        metavar="N",
        help="anomalies of a kind to show (default: %(default)s)",
    )
    return parser
