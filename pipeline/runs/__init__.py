"""The state of a run: each task's result, the consumers' lag, and how both are displayed."""
