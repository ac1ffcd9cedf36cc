"""What frameworks run and read: their schedules, and the notations in which they assign layers to stages."""
