"""The way of a task from poll to commit, and what happens to a task that fails."""
