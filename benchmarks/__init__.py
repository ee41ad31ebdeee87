"""Benchmarks: each part measured beside a plain reference and beside anomalib, in one run."""
