"""From a pipeline to a scheduling problem."""
