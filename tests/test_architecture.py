"""The architecture as tests: who may import whom, how large things may be, what may stand nowhere.

The rules are those of docs/ARCHITECTURE.md; they are read off the sources, nothing is imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_MODULE_LINES = 250
MAX_FUNCTION_LINES = 40

# All that pure code may use of the standard library: nothing that waits, looks at a clock or out of the
# process.
PURE = {
    "__future__", "abc", "array", "bisect", "collections", "dataclasses", "datetime", "difflib", "enum",
    "functools", "hashlib", "heapq", "ipaddress", "itertools", "json", "math", "re", "string", "struct",
    "types", "typing", "zlib",
}  # fmt: skip
# Packages of ours that each package may import, and which parts of the world outside.
LIBRARIES = {
    "fanwire_protocol": set(),
    "fanwire_publisher": {"fanwire_protocol"},
    "fanwire_client": {"fanwire_protocol"},
    "fanwire_cli": {"fanwire_protocol", "fanwire_publisher", "fanwire_client"},
    "fanwire_parity": {"fanwire_protocol"},
}
SERVICE_LIBRARIES = {"fanwire_protocol", "fanwire_publisher"}
# Modules of a service that may import everything of it, because they put it together.
ROOTS = {"authorizers", "main", "service", "verifiers"}
# Too long, each with the length that it may not exceed. Nothing is to be added here.
TOO_LONG = {
    "libs/cli/fanwire_cli/history/session.py": 262,
    "libs/client/fanwire_client/_session.py": 266,
    "services/edge/fanwire_edge/connection.py": 312,
}


@dataclass(frozen=True, slots=True)
class Module:
    """A Python source of ours, by its dotted name."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        """The package that is installed as one."""
        return self.name.partition(".")[0]

    @property
    def parts(self) -> list[str]:
        """The names below the package."""
        return self.name.split(".")[1:]

    @property
    def text(self) -> str:
        """The source."""
        return self.path.read_text()

    @property
    def tree(self) -> ast.Module:
        """The source, parsed."""
        return _parsed(self.path)

    @property
    def where(self) -> str:
        """The path as it stands in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    def imports(self) -> Iterator[str]:
        """Yield the dotted names of all that is imported, also where it is only for types."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.where}: imports are absolute"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _modules() -> list[Module]:
    found = []
    for package in sorted([*ROOT.glob("libs/*/fanwire_*"), *ROOT.glob("services/*/fanwire_*")]):
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found.append(Module(".".join(part for part in parts if part != "__init__"), path))
    return found


MODULES = _modules()
SERVICES = {path.name for path in ROOT.glob("services/*/fanwire_*") if (path / "__init__.py").exists()}
by_path = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.where)


def _is_core(module: Module) -> bool:
    return module.package in SERVICES and module.parts[:1] == ["core"]


def _ours(name: str) -> bool:
    return name.startswith("fanwire_")


@pytest.mark.parametrize(
    "module",
    [each for each in MODULES if each.package == "fanwire_protocol" or _is_core(each)],
    ids=lambda module: module.where,
)
def test_pure_code_uses_nothing_but_values(module: Module) -> None:
    """No event loop, socket, file, clock, chance or log: the core decides, and what it is told it is told as
    arguments. Only the protocol's codec uses a library."""
    allowed = PURE | ({"msgpack"} if module.name == "fanwire_protocol.codec" else set())

    outside = {name.partition(".")[0] for name in module.imports() if not _ours(name)}

    assert outside <= allowed


@by_path
def test_packages_import_only_what_lies_below_them(module: Module) -> None:
    """Libraries import no service, services no other service, the protocol nobody."""
    below = LIBRARIES.get(module.package, SERVICE_LIBRARIES)

    imported = {name.partition(".")[0] for name in module.imports() if _ours(name)}

    assert imported <= below | {module.package}


@pytest.mark.parametrize(
    "module", [each for each in MODULES if each.package in SERVICES], ids=lambda module: module.where
)
def test_layers_of_a_service_point_inwards(module: Module) -> None:
    """The core knows only the protocol; ports know the core; adapters know ports and core and never each
    other's technology; the shell knows no adapter. Only what puts the service together knows all."""
    if module.parts[:1] in ([name] for name in ROOTS):
        return
    inner = [name.split(".")[1:] for name in module.imports() if name.startswith(f"{module.package}.")]
    layers = {parts[0] for parts in inner}

    match module.parts[:1]:
        case ["core"]:
            assert layers <= {"core"}
        case ["ports"]:
            assert layers <= {"core"}
        case ["adapters"]:
            assert layers <= {"core", "ports", "adapters"}
            assert not {parts[1] for parts in inner if parts[0] == "adapters"} - _family(module.parts[-1])
        case _:
            assert not layers & ({"adapters"} | ROOTS)


def _family(adapter: str) -> set[str]:
    """Return the adapters of the same technology (`redis_tail` and `redis_wire`), which may share code."""
    technology = adapter.partition("_")[0]
    return {module.parts[1] for module in MODULES if module.parts[1:] and _is_of(module, technology)}


def _is_of(module: Module, technology: str) -> bool:
    return module.parts[0] == "adapters" and module.parts[1].startswith(f"{technology}_")


@by_path
def test_a_module_is_short(module: Module) -> None:
    """One noun, at most 250 lines. What is longer is known and does not grow."""
    lines = len(module.text.splitlines())

    assert lines <= TOO_LONG.get(module.where, MAX_MODULE_LINES)
    assert module.where not in TOO_LONG or lines > MAX_MODULE_LINES, "strike it off"


@by_path
def test_a_function_is_short(module: Module) -> None:
    """At most 40 lines beside its docstring."""
    long = {
        node.name: length
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _length(node)) > MAX_FUNCTION_LINES
    }

    assert long == {}


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    said = node.body[0]
    is_said = isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant)
    assert said.end_lineno is not None
    docstring = said.end_lineno - said.lineno + 1 if is_said else 0
    return node.end_lineno - node.lineno + 1 - docstring


@by_path
def test_nothing_is_swallowed_and_nothing_is_left_to_do(module: Module) -> None:
    """No bare `except`, and no note that something is missing."""
    bare = [n.lineno for n in ast.walk(module.tree) if isinstance(n, ast.ExceptHandler) and n.type is None]

    assert bare == []
    assert not re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", module.text)


@pytest.mark.parametrize(
    "folder",
    sorted(
        {package.parent for package in [*ROOT.glob("libs/*/fanwire_*"), *ROOT.glob("services/*/fanwire_*")]}
    ),
    ids=lambda folder: folder.name,
)
def test_every_package_introduces_itself(folder: Path) -> None:
    """With a README, its own small pyproject.toml and its types."""
    assert (folder / "README.md").read_text().startswith("# ")
    assert 'name = "' in (folder / "pyproject.toml").read_text()
    assert list(folder.glob("fanwire_*/py.typed"))


# Put together, so that this file does not hold what it looks for.
_REGISTRIES = ("py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(org|com)", "yarn" + r"pkg\.com")
_HOMES = ("/ho" + r"me/\w", "/Us" + r"ers/\w", "/ro" + r"ot/\w", "/wo" + r"rk/\w", r"[A-Z]:\\Us" + r"ers")
_FORBIDDEN = re.compile("|".join((*_REGISTRIES, *_HOMES)))
_NOT_OURS = {"node_modules", "build", "dist", "__pycache__"}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_ours = path.name not in _NOT_OURS and not path.name.endswith(".egg-info")
        if path.is_dir():
            # Hidden folders hold what tools keep; ours are named.
            if is_ours and (not path.name.startswith(".") or path.name == ".ci"):
                yield from _files(path)
        elif is_ours:
            yield path


def test_no_file_knows_the_machine_that_it_was_written_on() -> None:
    """No absolute path of somebody's home, and no address of a package registry: both come from outside."""
    found = []
    for path in _files(ROOT):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in _FORBIDDEN.finditer(text)]

    assert found == []
