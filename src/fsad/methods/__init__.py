"""One folder or file per method."""
