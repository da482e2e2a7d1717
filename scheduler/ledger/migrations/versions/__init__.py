"""One file per migration, ordered by the number in its name."""
