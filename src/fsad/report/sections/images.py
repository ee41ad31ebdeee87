"""The test images of the first run, with curves and sliders."""

from fsad.report.cards import Images
from fsad.report.page import explorer
from fsad.report.section import Section
from fsad.results.table import Runs
from fsad.results.table.settings import settings_of


def images(runs: Runs, shown: Images) -> list[Section]:
    """Show images, maps and curves, which the page's script draws from its data.

    Args:
        runs: All runs of the page; the images are those of the first.
        shown: Its images.
    """
    if not shown.payload:
        return []
    return [Section("images", "Images and mistakes", explorer(_intro(runs, shown)))]


def _intro(runs: Runs, shown: Images) -> str:
    first, several = runs.results[0], len(runs.results)
    whose = (
        f"Images are those of one run, the first of {several}: {first.method}, "
        f"{settings_of(first)['shots']} shots, seed {first.seed}, in {first.path.parent}. "
        "More would make the page too large; to see another run's, name its folder first. "
    )
    left = shown.images - shown.cards
    omitted = (
        f"{left} of {shown.images} images have no card, to keep the page small: those with the "
        "smallest mistakes. Scores and curves include them."
    )
    return (whose if several > 1 else "") + (omitted if left else "All test images are here.")
