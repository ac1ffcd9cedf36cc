"""Lowering: the transfers of an order, the rules that place them, and the resulting programs."""
