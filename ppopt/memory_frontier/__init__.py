"""The memory frontier: the shortest step for each memory limit, with a proven bound."""
