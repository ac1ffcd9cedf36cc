"""Splits a row of items into consecutive bins such that the longest path of a fixed order is short."""
