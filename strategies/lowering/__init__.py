"""Orders with their communication placed: the transfers of an order, lowering rules, and what runs or hangs."""
