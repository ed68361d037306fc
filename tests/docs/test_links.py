"""Every relative link leads to a file, and every anchor to a heading."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, Page

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _slugs(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of *text*."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page) -> None:
    """A target exists below the root, and has the heading that the link names."""
    for link in _LINK.findall(page.prose):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (page.folder / target).resolve() if target else page.folder / page.name.rpartition("/")[2]
        assert file.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in _slugs(file.read_text(encoding="utf-8")), f"{page.name} links to {link}"
