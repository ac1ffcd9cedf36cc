"""Rules that several schedules of the catalogue share."""
