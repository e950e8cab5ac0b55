"""Fetches a stock's statements only if they may have changed, and computes the other rows from what is stored."""
