"""Ways to get a machine: base says what one must give, registry which ones there are."""
