"""What scores images once a method is trained. It needs no Lightning."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from fsad.errors import RunError
from fsad.nn.adapter import CachedExtractor
from fsad.nn.bank_stream import BankStream
from fsad.nn.memory_bank import MemoryBank
from fsad.scores.score_set import Scores, complete

if TYPE_CHECKING:
    from fsad.data.datamodule import DataModule


class Scorer(nn.Module):
    """Scores images.

    A subclass writes :meth:`score`, and :meth:`prepare` where something is made once for many
    images; stages are over and banks filled by then.

    Args:
        extractor: The features it sees.
    """

    def __init__(self, extractor: CachedExtractor) -> None:
        super().__init__()
        self.extractor = extractor

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.extractor.extractor.mean.device

    def prepare(self) -> None:
        """Make what every query is compared with; here nothing."""

    def score(self, images: Tensor) -> Mapping[str, Tensor | Scores]:
        """Score images.

        Args:
            images: ``(n, 3, H, W)``, values in [0, 1].

        Returns:
            For each part of the score, patch scores ``(n, h, w)``, higher = more anomalous, or
            :class:`~fsad.scores.score_set.Scores` where an image's score is not that of its worst
            patch. An image's do not depend on the others. What the patches beside an image score,
            by :meth:`inside`, is of no account; image scores are of those inside alone.
        """
        raise NotImplementedError

    def refer_to(self, normal: Tensor, defective: Tensor, masks: Tensor) -> None:  # noqa: ARG002
        """Score by other references from now on; here none are known.

        Args:
            normal: Images without a defect, ``(n, 3, S, S)``, values in [0, 1].
            defective: Images with one, ``(m, 3, S, S)``.
            masks: Their defective pixels, ``(m, S, S)``, bool, none of them empty.

        Raises:
            RunError: It does not score by references.
        """
        raise RunError(
            "--normal: expected a run whose method scores by references of the part, got one of "
            f"{type(self).__name__}. Leave --normal, --defective and --mask out."
        )

    def inside(self, images: Tensor) -> Tensor | None:
        """Tell which patches show an image, ``(n, h, w)``, bool; None: all of them do."""
        return self.extractor.extractor.inside(images)

    def parts(self, images: Tensor) -> dict[str, Scores]:
        """Score images, each part with its image scores; as :meth:`score`."""
        return complete(self.score(images), self.inside(images))


class Control(Scorer):
    """What scores the test images of a run by what is known of them, and no other image."""

    def score(self, images: Tensor) -> Mapping[str, Tensor | Scores]:  # noqa: ARG002
        """Refuse.

        Raises:
            RunError: Always.
        """
        raise RunError(
            f"method: expected one that scores an image by itself, got {type(self).__name__}"
        )

    def read(self, data: "DataModule") -> None:
        """Read what is known of the test images, when a test starts."""
        raise NotImplementedError

    def score_at(self, index: Tensor) -> Mapping[str, Tensor | Scores]:
        """Score test images.

        Args:
            index: Their positions in the test samples, ``(n,)``.

        Returns:
            As :meth:`Scorer.score`.
        """
        raise NotImplementedError


class FeatureStream(Protocol):
    """What makes a bank of patch features that come batch by batch."""

    @property
    def count(self) -> int:
        """How many steps filling takes, if no more rows come."""
        ...

    def add(self, features: Tensor) -> None:
        """Take a batch of rows, ``(b, c)``."""
        ...

    def fill(self, bank: MemoryBank, progress: Callable[[int], object] = ...) -> None:
        """Fill a bank; ``progress`` is told how many steps are done."""
        ...


class BankScorer(Scorer):
    """Scores images by memory banks.

    Args:
        extractor: The features it sees.
        domains: Of the banks: ``source``, of the source images, and ``target``, of the shots.
    """

    def __init__(self, extractor: CachedExtractor, *domains: str) -> None:
        super().__init__(extractor)
        self._banks = nn.ModuleDict({domain: MemoryBank(domain) for domain in domains})

    @property
    def banks(self) -> Mapping[str, MemoryBank]:
        """The memory banks by domain; a :class:`~fsad.engine.stage.BankStage` fills them."""
        return self._banks  # type: ignore[return-value]  # of banks alone

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """Return patch features of images in [0, 1], float32 ``(n, c, h, w)``."""
        features: Tensor = self.extractor(images, domain)
        return features

    def stream(
        self, domain: str, ratio: float, max_rows: int | None, expected_rows: int | None
    ) -> FeatureStream:
        """Return what takes the features of a bank and fills it; here a coreset of them.

        Args:
            domain: The bank's.
            ratio: Share of the rows kept, in (0, 1].
            max_rows: The most rows held.
            expected_rows: How many will come, if that is known.
        """
        return BankStream(domain, ratio, max_rows, expected_rows)

    def inspect_training_images(self, data: "DataModule") -> None:
        """Look at the training images before the banks are built; here at none."""

    def augmentations(self, domain: str) -> int:  # noqa: ARG002
        """Return how many views of each image the bank holds."""
        return 1

    def augment(self, images: Tensor, domain: str, number: int) -> Tensor:  # noqa: ARG002
        """Return one view of images, from 0; here the images themselves."""
        return images
