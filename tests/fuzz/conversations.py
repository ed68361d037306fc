"""What a hostile peer says to an edge: segments of bytes, of frames and requests that are almost right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.edge.wire import BINARY, CLOSE, PING, PONG, TEXT, frame_bytes, upgrade_request
from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import COMMANDS, FRAMES, WORDS

__all__ = ["request", "talk"]

CONTINUATION = 0x0
OPCODES = [*range(16), TEXT, TEXT, CONTINUATION, PING, CLOSE]
SIZES = [0, 1, 125, 126, 127, 4095, 4096, 4097, 5000]
CODES = [0, 999, 1000, 1001, 1002, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4001, 4999, 5000, 65535]
HEADER_WORDS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b"\xff",
        b"\r\n\r\n",
        b"%ff%",
        b"?since=a@1-1~ffffffff",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: x\r\n",
    ),
    *(
        b"Upgrade: h2c\r\n",
        b"Sec-WebSocket-Protocol: bearer\r\n",
        b"Sec-WebSocket-Version: 99\r\n",
        b"HTTP/9.9",
    ),
    *(
        b"Authorization: Bearer \xc3\xa9\r\n",
        b"Host: [::1\r\n",
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    ),
]
# What a server reads of a request, with values that it does not expect.
ODD_LINES = [
    *(
        "Connection: keep-alive",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Expect: nonsense",
    ),
    *(
        "Content-Length: 0",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Content-Encoding: br",
        "TE: gzip",
    ),
    *(
        "Sec-WebSocket-Protocol: ,,, ,",
        "Sec-WebSocket-Protocol: bearer",
        "Sec-WebSocket-Protocol: \xff, bearer, \xff",
    ),
    *("Sec-WebSocket-Extensions: permessage-deflate", 'Sec-WebSocket-Extensions: ;;=,"', "Cookie: =;;\xff"),
    *(
        "Authorization: Bearer",
        "Authorization: Basic e30=",
        "Authorization: Bearer \xe4.\xe4.\xe4",
        "Origin: null",
    ),
    *(
        "Host: [::1",
        "Host: a b",
        "Content-Type: multipart/form-data; boundary=",
        "Accept: text/html",
        "X-Long: " + "x" * 8000,
    ),
]
ODD_CREDENTIALS = (
    "X: none",
    "Authorization: Bearer \xe4.\xe4.\xe4",
    "Authorization: Bearer e30.e30.",
    "Authorization: Bearer bnVsbA.bnVsbA.bnVsbA",
    "Sec-WebSocket-Protocol: bearer, \xff\xfe.\xff.\xff",
    "Sec-WebSocket-Protocol: bearer, " + "." * 4000,
    "Sec-WebSocket-Protocol: \xff, fanwire.v1.msgpack",
)
ODD_PATHS = [
    *(
        "/ws",
        "/ws",
        "/ws",
        "/ws",
        "/ws?since=orders@1-1~ffffffff",
        "/ws?since=",
        "/ws?since=%ff%00",
        "/ws?since=a&since=b",
    ),
    *(
        "/ws?" + "&" * 500,
        "/ws?%",
        "/ws/",
        "//ws",
        "/%77s",
        "/nothing",
        "/healthz",
        "*",
        "http://x/ws",
        "http://[/ws",
        "/ws#a",
    ),
]


def _whole(random: Random) -> bytes:
    """A frame with any head, that says the truth about its size and its mask."""
    payload = random.choice(COMMANDS) if random.random() < 0.5 else random.randbytes(random.choice(SIZES))
    return frame_bytes(
        payload,
        random.choice(OPCODES),
        fin=random.random() < 0.8,
        reserved=random.choice((0, 0, 0, 0, 0, 0, 1, 2, 4, 7)),
        masked=random.random() < 0.95,
    )


def _message(random: Random) -> bytes:
    """A command in fragments, with control frames between them, or with something that may not be there."""
    text = random.choice(COMMANDS)
    cuts = sorted(random.randint(0, len(text)) for _ in range(random.randint(1, 4)))
    places = [0, *cuts, len(text)]
    parts = []
    for index, start in enumerate(places[:-1]):
        opcode = CONTINUATION if index else random.choice((TEXT, TEXT, TEXT, BINARY))
        parts.append(frame_bytes(text[start : places[index + 1]], opcode, fin=index == len(cuts)))
        if random.random() < 0.3:
            parts.append(frame_bytes(random.randbytes(random.randint(0, 125)), random.choice((PING, PONG))))
        if random.random() < 0.1:
            parts.append(_whole(random))
    if random.random() < 0.2:
        random.shuffle(parts)
    return b"".join(parts)


def _lie(random: Random) -> bytes:
    """A head that claims a size in any of the three ways, and less or more behind it."""
    size = random.choice((0, 5, 125, 126, 65535, 65536, 2**31, 2**63, 2**64 - 1))
    kind = random.choice((126, 127))
    claimed = (size % 65536).to_bytes(2, "big") if kind == 126 else size.to_bytes(8, "big")
    head = bytes((random.choice((0x81, 0x82, 0x01, 0x80, 0x89, 0x88)), 0x80 | kind))
    return head + claimed + random.randbytes(random.choice((0, 3, 4, 9, 200)))


def _close(random: Random) -> bytes:
    code = random.choice(CODES).to_bytes(2, "big")
    reasons = [b"", b"bye", "ä".encode(), b"\xff", b"*" * 123, b"*" * 124]
    return frame_bytes(random.choice((b"", code[:1], code, code + random.choice(reasons))), CLOSE)


def _mistakes(random: Random) -> bytes:
    """Bad commands in a row, sometimes as many as end a connection."""
    texts = [
        b"{",
        b"[]",
        b'{"type":"x"}',
        b'{"type":"subscribe","channel":"x"}',
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
    ]
    return b"".join(frame_bytes(random.choice(texts)) for _ in range(random.randint(1, 12)))


def _noise(random: Random) -> bytes:
    return random.randbytes(random.choice((1, 2, 7, 50, 1000)))


def _broken(random: Random) -> bytes:
    return mutated(random, FRAMES, WORDS)


def _flood(random: Random) -> bytes:
    """More than may wait, of something small."""
    small = [frame_bytes(b"", PING), frame_bytes(COMMANDS[0]), frame_bytes(b"", TEXT, fin=False), FRAMES[1]]
    return random.choice(small) * random.randint(40, 300)


PARTS: Sequence[Callable[[Random], bytes]] = (
    *(_whole, _message, _lie, _close, _mistakes, _noise, _broken, _broken, _message, _flood),
)


def talk(random: Random) -> list[bytes]:
    """Return what is sent after the upgrade, in segments; often it begins rightly."""
    honest = b"".join(frame_bytes(random.choice(COMMANDS[:3])) for _ in range(random.randint(0, 3)))
    return _cut(random, honest + b"".join(random.choice(PARTS)(random) for _ in range(random.randint(1, 4))))


def request(random: Random, token: str) -> list[bytes]:
    """Return what is sent instead of an upgrade, or as one, in segments; frames may come behind it."""
    data = _upgrade(random, token)
    match random.randrange(10):
        case 0:
            data = random.randbytes(random.randint(1, 300))
        case 1:
            end = random.choice((b"\n", b"\r", b"\r\n\r\n", b"\r\n "))
            data = data.replace(b"\r\n", end, random.randint(1, 4))
        case 2:
            data += b"".join(talk(random))
        case 3 | 4:
            data = mutated(random, [data, data.replace(b"/ws", b"/healthz")], HEADER_WORDS)
    return _cut(random, data)


def _upgrade(random: Random, token: str) -> bytes:
    """A request that is HTTP, and mostly an upgrade."""

    def rarely(odd: Sequence[str], usual: str) -> str:
        return random.choice(odd) if random.random() < 0.1 else usual

    credential = random.choice(
        (f"Authorization: Bearer {token}", f"Sec-WebSocket-Protocol: bearer, {token}, fanwire.v1.json")
    )
    return upgrade_request(
        rarely(ODD_CREDENTIALS, credential),
        *random.sample(ODD_LINES, random.choice((0, 0, 0, 1, 1, 2))),
        path=rarely(ODD_PATHS, "/ws"),
        method=rarely(("POST", "HEAD", "PRI", "get"), "GET"),
        http=rarely(("1.0", "0.9", "2.0"), "1.1"),
        version=rarely(("8", "x", "\xe4", "13, 13"), "13"),
        key=rarely(("", "AAAA", "\xe4" * 24, "!" * 24), "AAAAAAAAAAAAAAAAAAAAAA=="),
    )


def _cut(random: Random, data: bytes) -> list[bytes]:
    match random.randrange(4):
        case 0:
            return [data]
        case 1:
            # Bytes by themselves, as far as heads reach.
            return [bytes((byte,)) for byte in data[:40]] + [data[40:]]
    places = sorted(random.randint(0, len(data)) for _ in range(random.randint(1, 6)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
