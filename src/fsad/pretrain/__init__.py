"""Pretraining a backbone on images that the project generates itself."""
