"""What became of each task of a run, whether its consumers keep up, and how that is shown."""
