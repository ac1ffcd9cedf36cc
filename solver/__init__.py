"""The solver room: scheduling problems, exact replay, and an independent checker."""
