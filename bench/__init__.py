"""Measurements of the running service; each module is a program: python -m bench.<name>."""
