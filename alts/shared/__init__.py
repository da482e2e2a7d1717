"""Code that the scheduler and the workers share. The scheduler imports nothing else of alts."""
