"""Data sets: readers, evaluation protocols, preparation, checks and the data module."""
