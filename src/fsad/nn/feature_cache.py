"""Features kept on disk, image by image: an image goes through the frozen backbone once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fsad.nn.extractor import PatchExtractor, State
from fsad.runtime.fingerprint import code_digest, machine
from fsad.storage.tensor_store import digest

Compute = Callable[[list[int]], State]  # (rows of the batch) -> tensors of as many rows


class FeatureCache:
    """Looks features up by what they are made from, and keeps those that were not there.

    A key holds the preprocessed image, the backbone with its weights, its layers, the precision
    and the kind of device it runs on, the code, and what came after: nothing, or adapters in a
    certain state. An entry belongs to one image, so that it serves any batch. On a CPU that
    changes no bit where ``compute`` goes image by image, as that of
    :class:`~fsad.nn.adapter.AdaptedExtractor` does. No lock is taken: jobs side by side may compute
    the same image, which costs time alone, since an entry is written whole and the last one stays.

    Args:
        extractor: The frozen backbone; entries go to its ``store``, if it has one.
    """

    def __init__(self, extractor: PatchExtractor) -> None:
        self._extractor = extractor

    def keys(self, images: Tensor, domain: str) -> list[str]:
        """Digest each image of a batch ``(n, 3, H, W)`` as the backbone is going to see it.

        Note:
            About one millisecond per image of 224 × 224.
        """
        if self._extractor.store is None:
            return [""] * len(images)
        identity = self._extractor.identity()
        del identity["normalize_depth"]
        normalised = self._extractor.is_normalized(domain)
        about = digest(identity, normalised, machine(images.device), code_digest("nn"))
        return [digest(about, image) for image in images]

    def look_up(
        self, state: Sequence[str], keys: Sequence[str], compute: Compute, device: torch.device
    ) -> State:
        """Return what ``compute`` gives for a batch, computing only what is not there.

        Args:
            state: What the result depends on besides the images.
            keys: :meth:`keys` of the images.
            compute: Called with the rows that are missing, unless none is.
            device: Where the result shall be.

        Returns:
            Tensors of as many rows as there are keys.
        """
        everything = list(range(len(keys)))
        store = self._extractor.store
        if store is None:
            return compute(everything)
        names = [digest(key, *state) for key in keys]
        entries = [store.get(name) for name in names]
        missing = [row for row, entry in enumerate(entries) if entry is None]
        computed = compute(missing) if missing else ()
        for place, row in enumerate(missing):
            store.put(names[row], {str(i): part[place] for i, part in enumerate(computed)})
        if missing == everything:
            return computed
        found = {
            row: [entry.tensors[str(i)].to(device) for i in range(len(entry.tensors))]
            for row, entry in enumerate(entries)
            if entry is not None
        }
        found |= {row: [part[place] for part in computed] for place, row in enumerate(missing)}
        columns = zip(*(found[row] for row in everything), strict=True)
        return tuple(torch.stack(column) for column in columns)
