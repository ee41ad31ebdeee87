"""Whether a category could be solved without looking for a defect."""

from collections.abc import Iterable

from fsad.data.inspect.audit import ShortcutStatistic, audit_samples
from fsad.data.reader import DatasetReader
from fsad.report.markup import cell, paragraph, table
from fsad.report.section import Section


def audited(reader: DatasetReader, categories: Iterable[str]) -> list[ShortcutStatistic]:
    """Measure the trivial statistics of some categories' test images.

    Raises:
        DataError: An image cannot be read.
        MissingDataError: A category is not there.
    """
    return [
        each
        for name in categories
        for each in audit_samples(reader, name, reader.samples(name, "test"))
    ]


def warnings(found: Iterable[ShortcutStatistic]) -> list[str]:
    """Name each category that a statistic solves, with the statistics that do."""
    solved: dict[str, list[str]] = {}
    for each in found:
        if each.solves:
            about = f"{each.statistic} ({each.modality}, AUROC {each.auroc:.2f})"
            solved.setdefault(each.category, []).append(about)
    return [
        f"{name}: {', '.join(statistics)} alone separate{'s' if len(statistics) == 1 else ''} good "
        "from defective test images. Ignore the image AUROC there."
        for name, statistics in solved.items()
    ]


def audit(found: list[ShortcutStatistic], categories: Iterable[str] = ()) -> list[Section]:
    """Show the image AUROC of statistics that know nothing of defects.

    Args:
        found: What was measured; where nothing was, there is nothing to show.
        categories: Those that were looked at; one whose test images define no AUROC is named.
    """
    if not found:
        return []
    html = paragraph(
        "Image AUROC of simple statistics that know nothing of defects. A value near 0 or 1 means "
        "that good and defective images differ in something else, for example the recording "
        "session. A high image AUROC of a method is then no evidence that it sees defects."
    )
    columns = dict.fromkeys(f"{each.modality}: {each.statistic}" for each in found)
    by_category: dict[str, dict[str, ShortcutStatistic]] = {}
    for each in found:
        by_category.setdefault(each.category, {})[f"{each.modality}: {each.statistic}"] = each
    lines = [
        [cell(name), *(_number(measured.get(column)) for column in columns)]
        for name, measured in by_category.items()
    ]
    solved = warnings(found)
    html += "".join(paragraph(text, "banner") for text in solved)
    if not solved:
        html += paragraph("No trivial statistic separates the test images.")
    html += table("Image AUROC of trivial statistics", ["category", *columns], lines)
    left = [name for name in categories if name not in by_category]
    if left:
        html += paragraph(
            f"Not measured in {', '.join(left)}: there are no good, or no defective test images."
        )
    return [Section("audit", "Trivial statistics", html)]


def _number(measured: ShortcutStatistic | None) -> str:
    if measured is None:
        return cell("–", "number")
    kind = "number solved" if measured.solves else "number"
    return cell(f"{measured.auroc:.3f}", kind, measured.auroc)
