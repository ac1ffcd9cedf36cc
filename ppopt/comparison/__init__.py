"""Several schedules of one model side by side: ranked, each with its ladder of bounds, as charts and page sections.

Nothing here computes times or searches: that is left to ``evaluation`` and ``optimization``.
"""
