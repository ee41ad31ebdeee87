"""The paper's Figs. 4 to 6 as far as the runs at hand can show them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from torch import Tensor

from fsad.report.feature_figures import perturbation_html, rectification_html
from fsad.report.markup import paragraph
from fsad.report.section import Section
from fsad.report.sweeps import AXES, SAID, curve_html, grids, heat_map_html, held, names_of, varies
from fsad.results.feature_samples import read_embeddings
from fsad.results.record import RunResult


def diagnostics(results: Sequence[RunResult]) -> list[Section]:
    """Draw what the runs can show.

    Args:
        results: Runs; each one's samples of features lie beside its ``result.json``.

    Returns:
        Curves and heat maps over alpha and beta where the runs vary them and nothing else but
        seeds and categories; for each category the features around the perturbation and the
        rectification, of the first run that kept some. Empty if the runs show nothing.

    Raises:
        DataError: A run's samples are damaged.

    Note:
        Some seconds per category, for t-SNE.
    """
    return [*_sweeps(results), *_features(results)]


def _sweeps(results: Sequence[RunResult]) -> Iterator[Section]:
    found = grids(results)
    for number, (grid, about) in enumerate(zip(found, names_of(found), strict=True)):
        behind = f"<p>{escape(about)}</p>"
        if varies(grid):
            name = f"alpha-beta-{number}"
            yield Section(name, "Scores over α and β", behind + heat_map_html(grid, f"{name}-map"))
        for axis in AXES:
            if held(grid, axis) is not None:
                name = f"{axis.rpartition('.')[2]}-{number}"
                html = behind + curve_html(grid, axis, f"{name}-curve")
                yield Section(name, f"Scores over {SAID[axis]}", html)


def _features(results: Sequence[RunResult]) -> Iterator[Section]:
    kept: dict[str, list[RunResult]] = {}
    for result in results:
        for category in result.categories:
            folder = result.path.parent / "categories" / category
            if read_embeddings(folder):
                kept.setdefault(category, []).append(result)
    for category, having in kept.items():
        shown = having[0]
        sets = read_embeddings(shown.path.parent / "categories" / category)
        about = f"{shown.method}, {shown.config['data'].get('shots')} shots, seed {shown.seed}"
        others = len(having) - 1
        runs = "1 other run" if others == 1 else f"{others} other runs"
        more = f"; {runs} kept features of the category too" if others else ""
        behind = f"<p>{escape(f'{about}, run {shown.path.parent}{more}.')}</p>"
        slug = re.sub(r"[^A-Za-z0-9]+", "-", category)
        perturb, rectify = _of_stage(sets, "perturb"), _of_stage(sets, "rectify")
        if perturb:
            name = f"perturbation-{slug}"
            html = behind + _verdict(shown.categories[category].diagnostics)
            html += perturbation_html(perturb, f"{name}-tsne")
            yield Section(name, f"{category}: features under perturbation (t-SNE)", html)
        if rectify:
            name = f"rectification-{slug}"
            gap = _gap(shown.categories[category].diagnostics)
            html = behind + rectification_html(rectify, f"{name}-pca", gap)
            yield Section(name, f"{category}: banks before and after rectification (PCA)", html)


def _of_stage(sets: Mapping[str, Tensor], stage: str) -> dict[str, Any]:
    """Return one stage's sets as arrays, by their names without the stage's."""
    of = f"{stage}."
    return {
        name.removeprefix(of): rows.numpy() for name, rows in sets.items() if name.startswith(of)
    }


def _verdict(measured: Mapping[str, Any]) -> str:
    """Say whether the adapters learnt to undo the noise, if the run measured it."""
    stage = measured.get("perturb", {})
    keys = ("loss_over_variance", "loss_over_variance_untrained", "clean_drift")
    loss, untrained, drift = (stage.get(key) for key in keys)
    if loss is None or untrained is None or drift is None:
        return ""
    failed = loss > 1
    said = (
        f"The adapters {'did not learn' if failed else 'learnt'} to undo the noise: their error is "
        f"{loss:.2f} times the variance of the features ({untrained:.2f} before training). Above 1 "
        f"a constant would predict better. They change features without noise by {drift:.3f} of "
        "their variance."
    )
    if failed:
        said += (
            " The scores of the run are valid: the backbone is unchanged, and the less the "
            "adapters change, the closer the scores are to those of method.stages.perturb=false."
        )
    return paragraph(said)


def _gap(measured: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the whole banks' gap over norm before and after R, if the run measured both."""
    stage = measured.get("rectify", {})
    before, after = stage.get("gap_over_norm_before"), stage.get("gap_over_norm_after")
    return None if before is None or after is None else (before, after)
