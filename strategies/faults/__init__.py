"""Faults in orders: missing actions, deadlocks, communication that hangs."""
