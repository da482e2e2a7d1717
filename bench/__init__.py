"""Measurements of the running service. Each module is a program: python -m bench.<name>."""
