"""The HTML report over runs."""
