"""A finished run as one file that scores images elsewhere."""
