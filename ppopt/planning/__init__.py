"""Planning: which layers lie on which stage, and what is recomputed."""
