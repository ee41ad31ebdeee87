"""Reading what a run left."""

import json


def numbers(folder):
    """Everything in result.json that a seed decides."""
    result = json.loads((folder / "result.json").read_text())
    for entry in result["categories"].values():
        for measured in ("seconds", "backbone_seconds", "peak_rss_mb", "reused"):
            entry.pop(measured)
    return result["categories"], result["mean"]
