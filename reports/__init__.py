"""The reports room: figures, tables, timelines and traces of finished schedules."""
