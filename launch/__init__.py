"""What `run_pipeline.py` does: find or start the services, start the processes, keep them alive, and print the summary."""
