"""The page itself: one file that needs no other."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from fsad.report.markup import escape, paragraph
from fsad.report.section import Section

STATIC = Path(__file__).with_name("static")
SCRIPTS = ("figures.js", "scoring.js", "explorer.js")


def page(
    title: str,
    facts: str,
    banners: Sequence[str],
    sections: Sequence[Section],
    data: Mapping[str, Any],
) -> str:
    """Put the page together.

    Args:
        title: Its heading, plain text.
        facts: A line below it, plain text.
        banners: What a reader must know before anything else, one sentence each.
        sections: Its parts, in order.
        data: What the scripts read.
    """
    links = "".join(f'<li><a href="#{it.name}">{escape(it.title)}</a></li>' for it in sections)
    body = "".join(
        f'<section id="{it.name}" aria-labelledby="{it.name}-title">'
        f'<h2 id="{it.name}-title">{escape(it.title)}</h2>{it.html}</section>'
        for it in sections
    )
    return Template(_static("page.html")).substitute(
        title=escape(title),
        facts=escape(facts),
        style=_static("report.css"),
        plotly=get_plotlyjs(),
        links=links,
        banners="".join(paragraph(text, "banner") for text in banners),
        body=body,
        data=_json(data),
        scripts="".join(f"<script>{_static(name)}</script>" for name in SCRIPTS),
    )


def explorer(intro: str) -> str:
    """Return the part in which images, curves and sliders live, below an introduction."""
    return paragraph(intro) + _static("explorer.html")


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _json(data: Mapping[str, Any]) -> str:
    """Return JSON that no HTML parser takes for a tag, whatever the texts in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
