"""The suite's group 7: the closing handshake and its codes."""

from __future__ import annotations

from tests.edge.autobahn.case import Case, close, command, fragments, frame, said
from tests.edge.wire import CLOSE, PING

__all__ = ["CLOSES"]

HELLO = "Hello World!"
END = close()
BROKEN = 1002
FIRST, SECOND = fragments(command("fragment1fragment2"), 25)
NOT_UTF8 = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"

VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]

# What stands behind the first CLOSE is not looked at.
CLOSES = [
    Case("7.1.1", [said(HELLO) + END], [HELLO]),
    Case("7.1.2", [END + close(None)]),
    Case("7.1.3", [END + frame("", PING)]),
    Case("7.1.4", [END + said(HELLO)]),
    Case("7.1.5", [FIRST + END + SECOND]),
    # 256 KB; the header is enough to refuse it.
    Case(
        "7.1.6",
        [frame(b"BAsd7&jh23" * 26215) + said(HELLO) + END + frame("", PING)],
        code=1009,
        deviates=True,
    ),
    Case("7.3.1", [close(None)]),
    Case("7.3.2", [frame("a", CLOSE)], code=BROKEN),
    Case("7.3.3", [close(1000)]),
    Case("7.3.4", [close(1000, HELLO.encode())]),
    Case("7.3.5", [close(1000, b"*" * 123)]),
    Case("7.3.6", [close(1000, b"*" * 124)], code=BROKEN),
    Case("7.5.1", [close(1000, NOT_UTF8)], code=1007),
    *(Case(f"7.7.{number}", [close(code)], code=code) for number, code in enumerate(VALID_CODES, 1)),
    *(Case(f"7.9.{number}", [close(code)], code=BROKEN) for number, code in enumerate(INVALID_CODES, 1)),
    # RFC 6455 defines nothing above 4999.
    Case("7.13.1", [close(5000)], code=BROKEN),
    Case("7.13.2", [close(65535)], code=BROKEN),
]
