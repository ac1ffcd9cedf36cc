"""The strategies room: pipelines, their dependencies, and the published schedules."""
