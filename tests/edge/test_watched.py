"""What operators read of a verifier that cannot tell."""

from __future__ import annotations

import logging

import pytest

from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_edge.watched import AGAIN_SECONDS, WatchedVerifier


class Source:
    """A verifier whose next answers are set."""

    def __init__(self) -> None:
        self.answer: Principal | Exception = Principal("u-1", "acme")

    async def verify(self, token: str) -> Principal:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_why_nobody_can_tell_is_logged_once_a_minute_and_so_is_the_end_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often it happens, and however often it changes; a refusal is an answer like another."""
    source, now = Source(), 1000.0
    watched = WatchedVerifier(source, "tokens", lambda: now)

    async def show(answer: Principal | Exception) -> None:
        source.answer = answer
        if isinstance(answer, Exception):
            with pytest.raises(type(answer)):
                await watched.verify("canary")
        else:
            assert await watched.verify("canary") is answer

    good, bad, away = Principal("u-1", "acme"), InvalidToken("nobody"), VerifierUnavailable("it is away")
    with caplog.at_level(logging.INFO):
        for answer in (good, bad, away, away, bad, away, good):
            await show(answer)
        assert [record.msg for record in caplog.records] == ["verifier_unavailable", "verifier_back"]
        now += AGAIN_SECONDS
        await show(away)
        await show(good)

    assert [record.msg for record in caplog.records] == ["verifier_unavailable", "verifier_back"] * 2
    said = caplog.records[0].__dict__
    assert (said["verifies"], said["reason"]) == ("tokens", "it is away")
    assert "canary" not in caplog.text
