"""The C programs of the benchmark, compiled when they are first needed and after a change."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

__all__ = ["BUILD", "CompilationFailed", "compile_program"]

SOURCES = Path(__file__).parent
BUILD = SOURCES.parents[1] / "build" / "bench"
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")


class CompilationFailed(RuntimeError):
    """A program of the benchmark could not be built; the text is the compiler's."""


def compile_program(name: str) -> Path:
    """Return the program *name* (`load`, `floor`), compiled; raises CompilationFailed."""
    source = SOURCES / f"{name}.c"
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for path in (source, *sorted(SOURCES.glob("*.h"))):
        digest.update(path.read_bytes())
    program = BUILD / f"{name}-{digest.hexdigest()[:12]}"
    if program.exists():
        return program
    BUILD.mkdir(parents=True, exist_ok=True)
    # Two processes may compile at once: each writes its own file, and the last rename wins.
    draft = program.with_suffix(f".{os.getpid()}")
    command = ["cc", *_FLAGS, "-o", str(draft), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise CompilationFailed("no C compiler `cc`; on Debian: apt-get install gcc libc6-dev") from error
    except subprocess.CalledProcessError as error:
        raise CompilationFailed(error.stderr) from error
    draft.replace(program)
    return program
