"""Modules with parameters or buffers, without Lightning."""
