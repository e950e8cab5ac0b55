"""A task's way from poll to commit, and what becomes of one that fails."""
