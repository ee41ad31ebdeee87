"""How an image is scored by its references: what is not normal in it, and like the defects."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsad.engine.scorer import BankScorer
from fsad.functional.intrinsic import deviation_scores, intrinsic_scores
from fsad.functional.scoring import top_mean
from fsad.functional.variation import Matches, erase_normal_variation, match_normal
from fsad.methods.ideal.settings import Variation
from fsad.methods.shared.open_set.scorer import each_alone
from fsad.nn.adapter import CachedExtractor
from fsad.nn.deviation_encoder import DeviationEncoder, sine_positions
from fsad.nn.references import DefectiveReferences, anomalous_cells
from fsad.scores.score_set import Scores

SCORED_WITHOUT_DEFECTS = ("normal", "residual")
"""Scores that need no defective reference."""
SCORED_BY_DIRECTIONS = ("full", "untrained")
"""Scores by what the encoder makes of the defective references."""


class IdealScorer(BankScorer):
    """Scores images against normal and defective references.

    Laws (``tests/methods/test_ideal.py``): an image's score does not depend on the images beside
    it, nor on the order of the references; a common factor of all features changes nothing but
    the length of residuals.

    Args:
        extractor: The frozen backbone.
        encoder: Makes directions of the defective references.
        variation: How normal variation is erased.
        by: What a patch is scored by, of :data:`~fsad.methods.ideal.settings.SCORES`.
        top_share: Share of an image's patches, the worst, whose mean is the image score.
    """

    def __init__(
        self,
        extractor: CachedExtractor,
        encoder: DeviationEncoder,
        variation: Variation,
        by: str,
        top_share: float,
    ) -> None:
        super().__init__(extractor, "target")
        self.encoder, self.variation, self.by, self.top_share = encoder, variation, by, top_share
        self.references = DefectiveReferences()
        self._normal = self._known = torch.empty(0)

    @property
    def positions(self) -> Tensor:
        """What tells the places of the grid apart, ``(h * w, c)``."""
        backbone = self.extractor.extractor
        return sine_positions(backbone.grid, backbone.channels).to(self.device)

    def prepare(self) -> None:
        """Compare the defective references with the normal ones, and encode what is left."""
        bank = self.banks["target"]
        self._normal = bank.rows * bank.std + bank.mean  # as the backbone gave them
        if self.by in SCORED_WITHOUT_DEFECTS:
            return
        known = self.references.features
        self._known = normalize(known, dim=1)
        if self.by in SCORED_BY_DIRECTIONS:
            keys, residuals = self.encoder_inputs(known, self.references.places, self._normal)
            present = torch.ones(1, len(known), dtype=torch.bool, device=known.device)
            self._known = self.encoder(keys[None], residuals[None], present)[0]

    @property
    def directions(self) -> Tensor:
        """The directions of defects that :meth:`prepare` made, ``(m, c)``."""
        return self._known

    def responses(self, most: int) -> tuple[Tensor, Tensor]:
        """Tell which anomalous patches of the references each direction is most like.

        Args:
            most: How many patches of each direction.

        Returns:
            The cosines of direction and residual, the highest first, and the numbers of the
            patches, ``(m, k)`` both.
        """
        _, residuals = self.compare(self.references.features, self._normal)
        cosine = normalize(self.directions, dim=1) @ normalize(residuals, dim=1).T
        highest = cosine.topk(min(most, len(residuals)), dim=1)
        return highest.values, highest.indices

    def compare(self, features: Tensor, normal: Tensor) -> tuple[Matches, Tensor]:
        """Return what normal patches patches are like, and the residuals.

        Args:
            features: ``(p, c)``.
            normal: Features of normal patches, ``(b, c)``.
        """
        matches = match_normal(features, normal, self.variation.neighbours)
        settings = self.variation
        residuals = erase_normal_variation(
            features, normal, matches, settings.rank, settings.strength
        )
        return matches, residuals

    def encoder_inputs(
        self, known: Tensor, places: Tensor, normal: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what the encoder sees of anomalous patches: keys and residuals, ``(r, c)``.

        Both are measured by the root mean square of the normal features, so that places weigh as
        much beside the features of any backbone.

        Args:
            known: Features of the anomalous patches, ``(r, c)``.
            places: Their numbers in the grid, ``(r,)``.
            normal: Features of normal patches, ``(b, c)``.
        """
        unit = normal.square().mean().sqrt()
        _, residuals = self.compare(known, normal)
        return known / unit + self.positions[places], residuals / unit

    def score(self, images: Tensor) -> dict[str, Scores]:
        """Score images, each by the mean of its worst patches."""
        return each_alone(self.score_features, self.encode(images, "target"))

    def score_features(self, features: Tensor) -> dict[str, Scores]:
        """Score images by their features, ``(n, c, h, w)``."""
        n, _, height, width = features.shape
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)
        patches = self._patches(rows).view(n, height, width)
        return {"target": Scores(patches, top_mean(patches, self.top_share))}

    def _patches(self, rows: Tensor) -> Tensor:
        """Score patches ``(p, c)``, one by one."""
        if self.by in ("normal", "banks"):
            similarity = match_normal(rows, self._normal, 1).similarity
            if self.by == "normal":
                return 1 - similarity
            return deviation_scores(similarity, match_normal(rows, self._known, 1).similarity)
        matches, residuals = self.compare(rows, self._normal)
        if self.by == "residual":
            return residuals.square().sum(dim=1).sqrt()
        intrinsic = intrinsic_scores(residuals[None], self._known[None])[0]
        return deviation_scores(matches.similarity, intrinsic)

    @torch.no_grad()
    def refer_to(self, normal: Tensor, defective: Tensor, masks: Tensor) -> None:
        """Score by other references from now on."""
        bank = self.stream("target", 1.0, None, None)
        for image in normal:
            features = self.encode(image[None].to(self.device), "target")
            bank.add(features.permute(0, 2, 3, 1).flatten(0, 2))
        bank.fill(self.banks["target"])
        self.keep_defective(list(defective), list(masks))
        self.prepare()

    def keep_defective(self, images: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        """Keep the anomalous patches of defective references.

        Args:
            images: ``(3, S, S)`` each, values in [0, 1].
            masks: Their defective pixels, ``(S, S)``, bool, not empty.
        """
        grid = self.extractor.extractor.grid
        features = [self.encode(image[None].to(self.device), "target") for image in images]
        cells = anomalous_cells(torch.stack(list(masks)), grid).to(self.device)
        self.references.fill(torch.cat(features), cells)
