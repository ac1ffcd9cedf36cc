"""The HTML page, a single file that needs no network."""
