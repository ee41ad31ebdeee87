"""One part of the report: what every maker of a part hands to the page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One part of the page, under a heading of its own.

    Attributes:
        name: Its anchor, unique on the page; lower case, words joined by dashes.
        title: Its heading, plain text.
        html: Its content, with ``<h3>`` and below for headings. What comes from outside (names of
            files and categories, settings) must be escaped. It may hold figures made by
            :func:`fsad.report.figure.as_html`: the page brings plotly.js, and gives every figure
            its colours for light and dark. It must not load anything: the page forbids it.
    """

    name: str
    title: str
    html: str
