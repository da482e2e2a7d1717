"""The chaos suite: the real service, broken on purpose while it works; see docs/reliability.md."""
