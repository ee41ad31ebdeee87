"""The protocols of runs as ``config.yaml`` holds them; what their settings are, the classes say."""

from dataclasses import asdict

from fsad.data.protocols.cross_domain import CrossDomain
from fsad.data.protocols.few_shot import FewShot


def stored(protocol):
    kind = type(protocol)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **asdict(protocol)}


CROSS_DOMAIN = stored(CrossDomain(shots=5, seed=3))
FEW_SHOT = stored(FewShot(shots=5, seed=3))
