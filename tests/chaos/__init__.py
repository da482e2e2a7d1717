"""The chaos suite breaks the real, running service on purpose; see docs/reliability.md."""
