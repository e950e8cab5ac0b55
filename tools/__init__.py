"""Tools for development: set up the browser, take the screenshots."""
