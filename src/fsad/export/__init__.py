"""A finished run as one file that scores depth images elsewhere."""
