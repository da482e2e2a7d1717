"""One file a step; the number in front is its place."""
