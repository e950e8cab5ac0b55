"""What `run_pipeline.py` does: finds or starts the services, starts the processes, keeps them alive, closes the account."""
