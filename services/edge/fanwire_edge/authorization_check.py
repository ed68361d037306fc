"""What of the settings of authorization would permit nothing, or something else than was meant."""

from __future__ import annotations

from fanwire_edge.auth_settings import AuthorizationSettings
from fanwire_edge.core.rules import InvalidRule, Rules
from fanwire_protocol.settings import SettingError

__all__ = ["MODES", "check_authorization", "modes_of"]

MODES = ("claims", "http", "owner", "callable")


def modes_of(settings: AuthorizationSettings) -> tuple[str, ...]:
    """Return who decides, in their order; raises SettingError for somebody unknown."""
    modes = tuple(mode.strip() for mode in settings.mode.split(","))
    for mode in modes:
        if mode not in MODES:
            raise SettingError(
                f"authorization.mode: {mode!r} is none of {', '.join(MODES)}; for example claims,http"
            )
    if len(set(modes)) != len(modes):
        raise SettingError("authorization.mode: names somebody twice; for example claims,http")
    return modes


def check_authorization(settings: AuthorizationSettings) -> None:
    """Refuse rules that are none, and authorizers that could never permit anything. Raises SettingError."""
    modes = modes_of(settings)
    _check_rules("routes", settings.routes, "http", modes)
    _check_rules("owners", settings.owners, "owner", modes)
    if not all(settings.owner_field.split(".")):
        raise SettingError(
            f"authorization.owner_field: {settings.owner_field!r} is no path; for example team.id"
        )
    if "callable" in modes and settings.callable is None:
        raise SettingError("authorization.callable: is not set; for example shop.realtime:may_read")


def _check_rules(name: str, texts: tuple[str, ...], mode: str, modes: tuple[str, ...]) -> None:
    try:
        Rules(texts)
    except InvalidRule as problem:
        raise SettingError(f"authorization.{name}: {problem}") from problem
    if mode in modes and not texts:
        raise SettingError(
            f"authorization.{name}: is empty, so that {mode!r} of authorization.mode decides nothing; for "
            'example ["tenant:{tenant}:resource:orders:{id} https://api.example.com/orders/{id}"]'
        )
