"""What a person meets at the terminal: help, the log of what was said, and the plan of a run."""
