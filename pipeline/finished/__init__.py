"""What is left after a run, and what can be done with it."""
