"""A schedule with its figures: replayed, checked, exported."""
