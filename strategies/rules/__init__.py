"""What several schedules of the catalogue share."""
