"""What the scheduler and the workers agree on. The scheduler imports nothing else of alts."""
