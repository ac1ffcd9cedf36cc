"""Orders in files."""
