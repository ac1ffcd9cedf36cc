"""Several schedules of one model side by side: ranked, each with its ladder of bounds, as charts and page sections.

Nothing here computes times or searches; it asks ``evaluation`` and ``optimization``.
"""
