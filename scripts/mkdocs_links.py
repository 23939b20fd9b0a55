"""mkdocs hook: links that leave docs/ lead to the repository; one to a file that is not there is a warning."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

log = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Rewrite ``](../X)`` of a page in docs/ to the address of X in the repository."""
    if "/" in page.file.src_uri:
        return markdown

    def address(found: re.Match[str]) -> str:
        if not (ROOT / found[1]).exists():
            log.warning("%s: links to ../%s, which is not in the repository", page.file.src_uri, found[1])
        return f"]({config['repo_url']}/blob/main/{found[1]}{found[2] or ''})"

    return OUTSIDE.sub(address, markdown)
