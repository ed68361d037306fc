"""Each pure module's twin test alone reaches every branch of the module: `python -m tests.coverage_by_twin`.

A module that is covered only because some other test happens to pass through it is not specified by
anything. So every module is measured on its own, in a process of its own, against the one test file that
bears its name; below 100 % of lines and branches the check fails and says what was missed.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
# Packages whose every module has a twin, and the folder of the twins.
PACKAGES = {
    "libs/protocol/fanwire_protocol": "tests/protocol",
    "services/edge/fanwire_edge/core": "tests/edge/core",
}
# hypothesis is a plugin, and was imported already.
ARGUMENTS = [
    *("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=twin"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]
FURTHER = {"libs/client/fanwire_client/_session.py": "tests/client/test_session.py"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the twin of a module reached, in percent, and what is to be said where that is not all."""

    module: str
    percent: float
    complaint: str = ""


def twins() -> Iterator[tuple[str, str]]:
    """Yield each module with its twin; a package's `__init__` is one where it says anything."""
    for package, tests in PACKAGES.items():
        for path in sorted((ROOT / package).glob("*.py")):
            name = "package" if path.stem == "__init__" else path.stem
            if path.stat().st_size:
                yield str(path.relative_to(ROOT)), f"{tests}/test_{name}.py"
    yield from FURTHER.items()


def measure(pair: tuple[str, str]) -> Verdict:
    """Run one twin under coverage of its module alone."""
    module, twin = pair
    if not (ROOT / twin).exists():
        return Verdict(module, 0, f"{twin} does not exist")
    measuring = coverage.Coverage(
        data_file=None, config_file=str(ROOT / "pyproject.toml"), branch=True, include=[str(ROOT / module)]
    )
    # The same examples each time: what is reached by luck would be missed by luck.
    settings.register_profile("twin", derandomize=True, deadline=None, database=None)
    arguments = [*ARGUMENTS, twin]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        with measuring.collect():
            failed = pytest.main(arguments)
        report = io.StringIO()
        percent = measuring.report(file=report, show_missing=True)
    if failed:
        return Verdict(module, percent, said.getvalue())
    return Verdict(module, percent, report.getvalue() if percent < 100 else "")


def main() -> int:
    """Measure all modules, as many at a time as there are processors, and print what falls short."""
    os.chdir(ROOT)
    pairs = list(twins())
    # A fresh process for each: a module that was imported before the measuring would count as never run.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        verdicts = list(pool.imap_unordered(measure, pairs, chunksize=1))
    short = sorted((verdict for verdict in verdicts if verdict.complaint), key=lambda each: each.module)
    for verdict in short:
        sys.stdout.write(f"{verdict.module}: {verdict.percent:.1f} %\n{verdict.complaint}\n")
    sys.stdout.write(
        f"{len(verdicts) - len(short)} of {len(verdicts)} modules are covered by their twin alone\n"
    )
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
