"""Paired RGB and depth images: readers, preparation, checks and the data module."""
