"""Where the weights of a backbone come from."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsad.errors import WeightsError, message_of

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "shipped"
"""Where the package keeps weights of its own, each with a model card."""
_PROBE_SECONDS = 5.0  # the hub's own download retries for up to minutes before it gives up


def find_weights(
    name: str,
    published: Mapping[str, Any],
    *,
    pretrained: bool,
    path: str | None,
    shipped: str | None = None,
) -> tuple[str, Path | None]:
    """Decide where a backbone's weights come from, and have the file at hand.

    Args:
        name: The backbone, for the messages.
        published: timm's description of the published weights; empty if there are none.
        pretrained: Whether pretrained weights are asked for.
        path: The user's own file; goes before everything else.
        shipped: Name of a file of pretrained weights in this package; goes before the hub.

    Returns:
        ``file``, ``shipped``, ``pretrained`` or ``random weights``, and the file unless the weights
        are random.

    Raises:
        WeightsError: Pretrained weights are asked for and cannot be had.
    """
    if path is not None:
        return "file", Path(path).expanduser()
    if not pretrained:
        log.warning(
            "backbone '%s': RANDOM WEIGHTS. Its scores say nothing about a method; "
            "they only show that the program runs.",
            name,
        )
        return "random weights", None
    if shipped is not None:
        return "shipped", shipped_file(name, shipped)
    repo = published.get("hf_hub_id")
    if not repo:
        raise WeightsError(
            f"backbone '{name}': expected pretrained weights on the model hub, got none: "
            "nobody has published any for this architecture. Pass backbone.weights_path=FILE; "
            "or ask for random weights with backbone.pretrained=false."
        )
    filename = published.get("hf_hub_filename") or "model.safetensors"
    return "pretrained", fetch_weights(name, repo, filename)


def shipped_file(name: str, filename: str) -> Path:
    """Return a file of weights that comes with this package.

    Args:
        name: The backbone, for the message.
        filename: The file in ``SHIPPED``.

    Raises:
        WeightsError: It is not there.
    """
    path = SHIPPED / filename
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in SHIPPED.glob("*.safetensors"))) or "none"
        raise WeightsError(
            f"backbone '{name}': expected weights in this package under the name '{filename}', "
            f"got {there}. Correct backbone.shipped, or install fsad again."
        )
    return path


def fetch_weights(name: str, repo: str, filename: str) -> Path:
    """Return a file of the model hub: from the local cache, else downloaded.

    Args:
        name: The backbone, for the message.
        repo: The hub's repository, for example ``timm/vit_base_patch8_224.dino``.
        filename: The file in it.

    Returns:
        The path in the local cache.

    Raises:
        WeightsError: It is neither in the cache nor to be had from the hub.
    """
    import huggingface_hub  # only what is not at hand is waited for
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.hf_hub_download(repo, filename, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        url = huggingface_hub.hf_hub_url(repo, filename)
        huggingface_hub.get_hf_file_metadata(url, timeout=_PROBE_SECONDS)
        return Path(huggingface_hub.hf_hub_download(repo, filename))
    except Exception as error:  # the hub has changed its HTTP library, and so its errors
        raise WeightsError(
            f"backbone '{name}': expected pretrained weights from the model hub, "
            f"got none ({message_of(error)}). Fetch them once where there is a network: "
            f"hf download {repo} {filename} --local-dir DIR, and pass "
            f"backbone.weights_path=DIR/{filename}; "
            "or ask for random weights with backbone.pretrained=false."
        ) from error
