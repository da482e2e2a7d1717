"""What is on a machine at one moment, and what has become of it since. Pure: other code runs the commands."""
