"""Copies of a data set without the ground plane."""
