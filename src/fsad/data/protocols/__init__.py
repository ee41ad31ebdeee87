"""Which images a run may learn from."""
