"""Pages whose text stands elsewhere in the repository: one source of truth for each."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {  # page of the site: file it is taken from
    "benchmarks.md": "benchmarks/results/table.md",
    "tiny.md": "src/fsad/shipped/tiny.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def page(name: str) -> str:
    """Return a page's Markdown."""
    text = (ROOT / PAGES[name]).read_text(encoding="utf-8")
    head = UNSEARCHED if name == "benchmarks.md" else ""  # its one table answers to every word
    return head + text


def relink(markdown: str, origin: str, name: str) -> str:
    """Point relative links at the site's pages; what the site does not hold keeps its text alone.

    Args:
        markdown: The page's text.
        origin: The file it stands in, from the repository's root; links are relative to that.
        name: The page.
    """

    def pointed(link: re.Match[str]) -> str:
        if "://" in link["target"]:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["target"]))
        pages = {file: page for page, file in PAGES.items()}
        target = pages.get(path)
        if target is None and path.startswith("docs/"):
            target = path.removeprefix("docs/")
        if target is None:
            if not (ROOT / path).exists():
                raise ValueError(f"{origin}: expected a file at '{link['target']}', got none")
            return link["text"] if link["text"].startswith("`") else f"{link['text']} (`{path}`)"
        target = posixpath.relpath(target, posixpath.dirname(name) or ".")
        return f"[{link['text']}]({target}{link['anchor'] or ''})"

    return LINK.sub(pointed, markdown)
