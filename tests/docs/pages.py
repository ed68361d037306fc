"""The project's Markdown: pages, and the blocks of code that stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Page", "blocks", "page"]

ROOT = Path(__file__).parents[2]
_PLACES = (
    "*.md",
    "docs/**/*.md",
    "deploy/**/*.md",
    "libs/*/README.md",
    "services/*/README.md",
    "tests/**/README.md",
)
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and where it stands."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first_line(self) -> str:
        """The line by which tests know the block."""
        return self.text.partition("\n")[0]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file; `name` is its path below the root."""

    name: str
    text: str

    @property
    def folder(self) -> Path:
        """The folder that relative links begin at."""
        return (ROOT / self.name).parent

    @property
    def blocks(self) -> Iterator[Block]:
        """The fenced blocks, in order."""
        for found in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, found.start()) + 1
            yield Block(self.name, line, found[1].strip(), found[2])

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def inline(self) -> list[str]:
        """What stands in backticks, and the commands of indented lists (up to their explanation)."""
        indented = [line.partition("   ")[0] for line in _INDENTED.findall(self.prose)]
        return re.findall(r"`([^`\n]+)`", self.prose) + indented

    def section(self, heading: str) -> str:
        """Return the text from *heading* to the next heading of any level."""
        found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert found is not None, f"{self.name} has no section {heading!r}"
        return found[1]


@cache
def _read(name: str) -> Page:
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


PAGES = tuple(_read(str(path.relative_to(ROOT))) for place in _PLACES for path in sorted(ROOT.glob(place)))


def page(name: str) -> Page:
    """Return one page."""
    return _read(name)


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of these languages on all pages."""
    return [block for page in PAGES for block in page.blocks if block.language in languages]
