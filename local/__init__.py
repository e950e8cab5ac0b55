"""The embedded default: a broker, a database and a stand-in for the site, started by `run_pipeline.py`."""
