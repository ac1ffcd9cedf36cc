"""Lower bounds on the length of any schedule of a problem."""
