"""Evaluation protocols: what a run may learn from, and what it is tested on."""
