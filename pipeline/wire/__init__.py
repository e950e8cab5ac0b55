"""Topics, messages, market caps, regions: the data that the processes exchange. Pure."""
