"""New images: read, scored, decided on, written down. Only ``from_run`` needs torch."""
