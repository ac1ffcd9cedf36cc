"""Searching for the best order of one pipeline on one placement, and saying how good it is.

What a search starts from, whether anything fits, what its result means; the search itself is general and in ``solver``.
"""
