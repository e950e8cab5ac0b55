"""The page in the browser: shows topics and tables, and replays dead letters."""
