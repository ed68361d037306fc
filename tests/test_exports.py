"""The public names of every library are those that its `__all__` lists, and no others."""

from __future__ import annotations

import importlib
import types

import pytest

PACKAGES = ("fanwire_client", "fanwire_parity", "fanwire_protocol", "fanwire_publisher")


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_those_of_all(package: str) -> None:
    """A name that is importable from the top is listed, and a listed one is there."""
    module = importlib.import_module(package)
    names = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }

    assert names == set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_described(package: str) -> None:
    """Every public class and function says in a sentence what it is for."""
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type | types.FunctionType):
            assert (value.__doc__ or "").strip().rstrip(".:") != "", name
