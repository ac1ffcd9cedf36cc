"""The memory frontier: the shortest step that there is for each memory limit, and what is proven of it."""
