"""Keys that every entry of ``result.json`` has, for scripts that read it."""

BANKS = ("source", "target")
"""Of ``bank_rows``; 0 where a method has no such bank."""
SECONDS = ("perturb", "banks", "rectify", "test", "metrics")
"""Of ``seconds``; 0 where a method has no such stage."""
