"""What the processes of the pipeline share. Scripts import it; it imports no script and nothing of `local`."""
