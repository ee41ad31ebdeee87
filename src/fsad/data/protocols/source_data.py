"""A second data set: one that is learnt from and never tested."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from fsad.data.depth_rules import DepthRules
from fsad.data.identity import reading_digest
from fsad.data.listing import check_category, check_names
from fsad.data.reader import DatasetReader
from fsad.data.sample import Sample
from fsad.data.task import Role, check_modality
from fsad.errors import DataError, MissingDataError, message_of


class SourceData:
    """The data set that a model is trained on where another one is tested.

    Args:
        reader: Makes its reader from its root.
        root: Its folder.
        category: One name, a list of names, or ``all``.
        modality: In which its images are seen.

    Raises:
        ConfigError: ``category`` is not made of names; later, when the data set is looked at, one
            is unknown.
    """

    def __init__(
        self,
        reader: Callable[[str | Path, DepthRules], DatasetReader],
        root: str | Path,
        category: str | Sequence[str] = "all",
        modality: str = "rgb",
    ) -> None:
        self._make_reader, self.root, self.modality = reader, root, modality
        self.category = check_names(category, "source.category")

    @cached_property
    def reader(self) -> DatasetReader:
        """Its reader; made late, since a generated data set is written on first use."""
        return self._make_reader(self.root, DepthRules(shrink="area"))

    @cached_property
    def categories(self) -> list[str]:
        """The categories that are learnt from.

        Raises:
            MissingDataError: There is no such folder, or no category in it.
            ConfigError: One is unknown.
        """
        try:
            known = self.reader.categories()
        except MissingDataError as error:  # readers speak of the data set that is tested
            message = message_of(error).replace("data.root", "source.root")
            raise MissingDataError(message.replace("data.category", "source.category")) from error
        if self.category == "all":
            return known
        names = [self.category] if isinstance(self.category, str) else self.category
        return [check_category(name, known, "source.category") for name in names]

    @cached_property
    def role(self) -> Role:
        """Its test images, normal and defective, with labels and masks.

        A defective image without a mask is left out.

        Raises:
            ConfigError: It has no such category or modality.
            DataError: A category has no normal images, or none with a defect and a mask.
        """
        check_modality("source.modality", self.modality, self.reader)
        samples = [sample for name in self.categories for sample in self._masked(name)]
        return Role(
            samples,
            self.modality,
            labels=True,
            masks=True,
            reader=self.reader,
            reading=reading_digest(self._make_reader),
        )

    def _masked(self, category: str) -> list[Sample]:
        listed = self.reader.samples(category, "test")
        normal = sum(not sample.is_anomalous for sample in listed)
        samples = [sample for sample in listed if sample.is_masked]
        if not normal or len(samples) == normal:
            raise DataError(
                f"source: expected normal images and defective ones with masks in the test split "
                f"of {category}, got {normal} and {len(samples) - normal}. Choose another "
                "source, or name its other categories in source.category."
            )
        return samples
