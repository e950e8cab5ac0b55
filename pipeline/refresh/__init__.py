"""A stock's statements are asked for only if they may have changed: due or not, what is kept, and the handler that decides."""
