"""One part of the report's page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """What a page shows under one heading.

    Attributes:
        name: Names it in links: letters, digits, dashes; no two of a page share one.
        title: The heading, plain text.
        html: What is below it; may hold plotly figures, for the page brings plotly.js.
    """

    name: str
    title: str
    html: str
