"""Where the numbers came from: settings, versions, shots, weights, time and memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from fsad.report.markup import cell, escape, notes, paragraph, table
from fsad.report.section import Section
from fsad.results.record import CategoryResult, RunResult

SHOWN = 20  # runs


def provenance(runs: Sequence[RunResult]) -> list[Section]:
    """Show what is needed to trust a number, and to get it again."""
    html = ""
    if len(runs) > SHOWN:
        html += paragraph(f"The first {SHOWN} of {len(runs)} runs are shown.")
    for result in runs[:SHOWN]:
        title = f"{result.method}, seed {result.seed}: {result.path.parent}"
        opened = " open" if len(runs) == 1 else ""
        html += (
            f"<details{opened}><summary>{escape(title)}</summary>{_run(result)}"
            f"<details><summary>All settings</summary>"
            f"<pre tabindex='0'>{escape(_yaml(result.config))}</pre></details></details>"
        )
    return [Section("provenance", "Provenance", html)]


def _run(result: RunResult) -> str:
    backbone = result.backbone
    facts = {
        "code (git)": result.git or "unknown",
        "backbone": f"{backbone.get('name')}, {backbone.get('weights')}",
        "weights, sha256": backbone.get("sha256") or "none",
        **{name: value or "not installed" for name, value in result.versions.items()},
    }
    lines = [[cell(name), cell(str(value), "code")] for name, value in facts.items()]
    html = table("Code, backbone and versions", ["what", "which"], lines)
    html += _costs(result.categories)
    html += _shots(result.categories)
    remarks = [
        f"{name}: {note}" for name, category in result.categories.items() for note in category.notes
    ]
    remarks += [f"{name}: failed: {why}" for name, why in result.failed.items()]
    return html + (f"<h3>Notes</h3>{notes(remarks)}" if remarks else "")


def _costs(categories: Mapping[str, CategoryResult]) -> str:
    stages = list(
        dict.fromkeys(stage for category in categories.values() for stage in category.seconds)
    )
    lines = []
    for name, category in categories.items():
        seconds = [cell(f"{category.seconds.get(stage, 0.0):.1f}", "number") for stage in stages]
        banks = ", ".join(f"{domain} {rows}" for domain, rows in category.bank_rows.items())
        rest = [
            cell(f"{category.backbone_seconds:.1f}", "number"),
            cell(f"{category.peak_rss_mb:.0f}", "number"),
        ]
        lines.append(
            [cell(name), *seconds, *rest, cell(banks), cell(", ".join(category.reused) or "none")]
        )
    names = ["category", *(f"{stage}, s" for stage in stages), "in the backbone, s"]
    names += ["peak memory, MB", "bank rows", "reused"]
    return table("Seconds by stage, memory and banks", names, lines)


def _shots(categories: Mapping[str, CategoryResult]) -> str:
    lines = [
        [
            cell(name),
            cell(", ".join(category.shots), "code"),
            *(
                cell(str(n), "number")
                for n in (category.n_source, category.n_test_good, category.n_test_defect)
            ),
        ]
        for name, category in categories.items()
    ]
    names = ["category", "shots", "source images", "good test images", "defective test images"]
    return table("Shots by file name, and how many images there were", names, lines)


def _yaml(config: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
