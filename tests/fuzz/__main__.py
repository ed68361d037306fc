"""Search for bytes that break a parser, guided by coverage: `python -m tests.fuzz commands --seconds 60`.

It needs atheris, which is no dependency of the project. What it finds stays in build/fuzz-corpus. With
`--pure` it runs aiohttp's reader in Python, which coverage can see into; without it the compiled one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

INSTALL = "atheris is missing; install it beside the project: .venv/bin/python -m pip install atheris"
CORPUS = Path("build") / "fuzz-corpus"


def main() -> int:
    """Run one target; ends with the first input that breaks it, or when the time is over."""
    if "--pure" in sys.argv:
        os.environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    try:
        atheris = importlib.import_module("atheris")
    except ModuleNotFoundError:
        print(INSTALL, file=sys.stderr)  # noqa: T201
        return 2
    # What is imported inside is watched.
    with atheris.instrument_imports(include=["fanwire_protocol", "fanwire_edge", "aiohttp._websocket"]):
        from tests.fuzz.seeds import SEEDS, WORDS
        from tests.fuzz.targets import TARGETS
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--pure", action="store_true", help="use aiohttp's reader that is not compiled")
    arguments = parser.parse_args()
    folder = CORPUS / arguments.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[arguments.target]):
        (folder / f"seed-{number}").write_bytes(seed)
    words = CORPUS / "words.txt"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS))
    atheris.Setup(
        [
            sys.argv[0],
            str(folder),
            f"-max_total_time={arguments.seconds}",
            f"-dict={words}",
            "-max_len=8192",
            "-timeout=5",
            "-print_final_stats=1",
            f"-artifact_prefix={folder}-",
        ],
        TARGETS[arguments.target],
    )
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
