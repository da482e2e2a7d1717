"""Package managers: argv builders and output readers, pure."""
