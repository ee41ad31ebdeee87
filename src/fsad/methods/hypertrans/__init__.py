"""HyperTrans (IJCAI 2025): domain perturbation, hypergraph rectification, cross-domain scoring."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fsad.engine.bank_builder import MemoryBankBuilder
from fsad.engine.plan import Plan, Stage
from fsad.errors import (
    ConfigError,
    check_at_least,
    check_bool,
    check_even,
    check_fraction,
    check_not_negative,
)
from fsad.methods.hypertrans.perturbation import DomainPerturbationModule
from fsad.methods.hypertrans.rectification import HypergraphRectificationModule
from fsad.methods.hypertrans.settings import Banks, Perturb, Plus, Rectify, Stages
from fsad.nn.adapter import AdaptedExtractor
from fsad.nn.extractor import PatchExtractor


class HyperTrans:
    """The method and its settings; :meth:`plan` lays out one category's run.

    Args:
        alpha: Share of the hypergraph branch in R (eq. 9), in [0, 1].
        beta: Share of the source domain in the score (eqs. 18, 19), in [0, 1].
        knn: Neighbours per patch in the hypergraph, even; half of them in each domain.
        bank_max_rows: Most rows a bank may have; twice as many are held while it is built. None
            is as many as there are.
        rectify_banks: At test, compare with rectified banks; false compares with raw ones.
        sigma: Blur of the anomaly map in pixels, 0 or more.
        stages: Which parts are on, as :class:`~fsad.methods.hypertrans.settings.Stages`.
        perturb: :class:`~fsad.methods.hypertrans.settings.Perturb`.
        banks: :class:`~fsad.methods.hypertrans.settings.Banks`.
        rectify: :class:`~fsad.methods.hypertrans.settings.Rectify`.
        seed: Seed of weights, noise and dropout.
        plus: :class:`~fsad.methods.hypertrans.settings.Plus`; with any of it on, the method calls
            itself ``hypertrans_plus``.

    Raises:
        ConfigError: A setting is out of range.

    Examples:
        >>> import fsad
        >>> settings = dict(alpha=0.3, beta=0.6, knn=10, bank_max_rows=None, rectify_banks=True)
        >>> parts = dict(stages={}, perturb={}, banks={}, rectify={"epochs": 50})  # {}: defaults
        >>> method = fsad.HyperTrans(**settings, **parts, sigma=4.0, seed=0)
        >>> method.name, method.rectify.epochs, method.rectify.dropout
        ('hypertrans', 50, 0.5)
    """

    name = "hypertrans"

    def __init__(
        self,
        alpha: float,
        beta: float,
        knn: int,
        bank_max_rows: int | None,
        rectify_banks: bool,
        sigma: float,
        stages: Mapping[str, Any],
        perturb: Mapping[str, Any],
        banks: Mapping[str, Any],
        rectify: Mapping[str, Any],
        seed: int,
        plus: Mapping[str, Any] | None = None,
    ) -> None:
        self.alpha = check_fraction("method.alpha", alpha)
        self.beta = check_fraction("method.beta", beta)
        self.knn = check_even("method.knn", knn)
        self.bank_max_rows = (
            None
            if bank_max_rows is None
            else check_at_least("method.bank_max_rows", bank_max_rows, 1)
        )
        self.rectify_banks = check_bool("method.rectify_banks", rectify_banks)
        self.sigma = check_not_negative("method.sigma", sigma)
        self.seed = check_at_least("seed", seed, 0)
        self.stages = Stages(**stages)
        self.perturb = Perturb(**perturb)
        self.banks = Banks(**banks)
        self.rectify = Rectify(**rectify)
        self.plus = Plus(**(plus or {}))
        if self.plus != Plus():
            self.name = "hypertrans_plus"
            self._check_plus()

    def _check_plus(self) -> None:
        """Refuse settings under which the shots would not be scored as queries are."""
        if self.stages.rectify and not self.rectify_banks:
            raise ConfigError(
                "method.rectify_banks: expected true with method.plus, got false: raw shots would "
                "be compared with rectified queries. Leave it true."
            )
        if self.plus.calibrate and (self.banks.target_ratio < 1 or self.bank_max_rows):
            raise ConfigError(
                "method.plus.calibrate: expected a target bank of every patch, got "
                f"method.banks.target_ratio={self.banks.target_ratio}, "
                f"method.bank_max_rows={self.bank_max_rows}. Set them to 1 and null."
            )

    def plan(self, extractor: PatchExtractor, banks_path: Path) -> Plan:
        """Lay out the stages of one category around a frozen backbone.

        Args:
            extractor: The frozen backbone, shared between categories.
            banks_path: Where the banks are kept.
        """
        adapted = AdaptedExtractor(extractor, self.perturb.hidden, self.seed)
        adapted.enabled = self.stages.perturb
        scorer = HypergraphRectificationModule(
            adapted,
            self.rectify,
            alpha=self.alpha,
            knn=self.knn,
            rectify=self.stages.rectify,
            rectify_banks=self.rectify_banks,
            plus=self.plus,
            seed=self.seed,
        )
        builder = MemoryBankBuilder(
            banks_path,
            {"source": self.banks.source_ratio, "target": self.banks.target_ratio},
            slack=self.banks.coreset_slack,
            max_rows=self.bank_max_rows,
        )
        stages = []
        if self.stages.perturb:
            perturb = {"perturb": asdict(self.perturb), "seed": self.seed}
            module = DomainPerturbationModule(adapted, self.perturb, self.seed)
            stages.append(
                Stage("perturb", module, self.perturb.epochs, 1, perturb, module.embeddings)
            )
        rectify = {
            "alpha": self.alpha,
            "knn": self.knn,
            "rectify": asdict(self.rectify),
            "seed": self.seed,
        }
        if self.stages.rectify:
            stages.append(
                Stage("rectify", scorer, self.rectify.epochs, 10, rectify, scorer.embeddings)
            )
        return Plan(
            stages,
            scorer,
            builder,
            beta=self.beta if self.stages.cross_domain else 0.0,
            sigma=self.sigma,
            banks_depend={
                "banks": asdict(self.banks),
                "max_rows": self.bank_max_rows,
                "rotations": self.plus.rotations,
            },
            scores_depend={
                "excess": self.plus.excess,
                "calibrate": self.plus.calibrate,
                **({"rectify_banks": self.rectify_banks} if self.stages.rectify else {}),
            },
        )
