"""Splitting a row of items into consecutive bins, so that the longest path of a fixed order is short."""
