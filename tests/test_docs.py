"""README and guide are run, so that what they show works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/guide.md")


def blocks() -> list[tuple[str, int, str]]:
    """Every Python block as (page, line, code)."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found.append((page, text.count("\n", 0, match.start()) + 2, match.group(1)))
    return found


def test_blocks_are_found() -> None:
    assert {page for page, _, _ in blocks()} == set(PAGES)


@pytest.mark.parametrize(("page", "line", "code"), blocks(), ids=lambda value: str(value)[:30])
def test_block_runs(
    page: str, line: int, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile("\n" * (line - 1) + code, str(ROOT / page), "exec"), {"__name__": "docs"})
    # A status and a body; a number alone is how many models are loaded.
    assert not re.search(r"^[45]\d\d \S", capsys.readouterr().out, re.MULTILINE), "an example is answered with an error"


def test_links_lead_somewhere() -> None:
    pages = [ROOT / page for page in PAGES] + sorted((ROOT / "docs" / "decisions").glob("*.md"))
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))]
    assert links
    missing = [
        f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()
    ]
    assert not missing
