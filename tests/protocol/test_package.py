"""The package as others import it."""

import ast
import sys
from pathlib import Path

import pytest

import fanwire_protocol

PACKAGE = Path(fanwire_protocol.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))
NEVER = {"asyncio", "os", "random", "redis", "secrets", "socket", "threading", "time", "aiohttp", "logging"}


def imported(module: Path) -> set[str]:
    """Return the names of the top-level packages that *module* imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_every_public_name_exists_once() -> None:
    """What `__all__` promises can be imported, in alphabetical order."""
    names = fanwire_protocol.__all__
    assert [name for name in names if not hasattr(fanwire_protocol, name)] == []
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_contract_is_pure_code(module: Path) -> None:
    """No I/O, no clock, no randomness; nothing beyond the standard library and msgpack."""
    names = imported(module)

    assert names & NEVER == set()
    assert names <= set(sys.stdlib_module_names) | {"msgpack", "fanwire_protocol"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_module_has_its_twin(module: Path) -> None:
    """Each module is proven by one test module of its name."""
    twin = "test_package.py" if module.name == "__init__.py" else f"test_{module.name}"
    assert (Path(__file__).parent / twin).exists()
