"""A hook of pytest: a test that logs or prints a secret of the test run fails, whatever it was about."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.kit.canaries import CANARIES, SecretShown

__all__ = ["pytest_runtest_makereport"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Search what the test wrote: its log, its output, and its warnings on standard error."""
    report = yield
    try:
        for name, text in report.sections:
            CANARIES.check(text, name)
    except SecretShown as problem:
        report.outcome = "failed"
        report.longrepr = f"{problem}\n\n{report.longrepr or ''}"
    return report
