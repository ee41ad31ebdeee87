"""How figures look, and their way into a page; readable on white and on black."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK = "#808080"  # contrast of 4 with white, of 5 with black
GRID = "rgba(128, 128, 128, 0.25)"
CLEAR = "rgba(0, 0, 0, 0)"
BLUE, ORANGE = "#2e86d1", "#e0681f"
"""Apart for every kind of colour blindness; contrast of 3 or more with white and with black."""
SCALE = "Cividis"
"""Dark blue over grey to yellow, even in lightness, the same to the colour-blind."""


def as_html(figure: "Figure", name: str, height: int, ticks: bool = True) -> str:
    """Give a figure the report's look and return it as a piece of HTML.

    Args:
        figure: It is changed.
        name: Its ``id`` in the page.
        height: Pixels.
        ticks: Mark and number the axes.
    """
    from plotly.io import to_html

    figure.update_layout(
        height=height,
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"color": INK, "size": 13},
        margin={"l": 60, "r": 20, "t": 60, "b": 60},
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.06,
            "x": 0,
            "itemsizing": "constant",
        },
        hoverlabel={"font": {"color": "white"}, "bgcolor": "#333333"},
    )
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": INK, "showline": True}
    if ticks:
        axis["ticks"] = "outside"
    else:
        axis |= {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure.update_xaxes(axis)
    figure.update_yaxes(axis)
    html: str = to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=name,
        config={"displaylogo": False, "responsive": True},
    )
    return html
