"""What the processes of the pipeline share, a room for each part of a task's way. Imports no script, and no room outside."""
