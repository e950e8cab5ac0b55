"""The screener: which stocks a region and band has, by a real browser or by the endpoint behind the page."""
