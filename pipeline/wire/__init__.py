"""What goes over the topics, and in which words: topics, messages, market caps, regions. Pure."""
