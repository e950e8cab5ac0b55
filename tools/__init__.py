"""For those who work on this project: the browser's set-up, the screenshots."""
