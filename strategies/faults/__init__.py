"""What is wrong with an order: missing actions, circles of waiting, communication that hangs."""
