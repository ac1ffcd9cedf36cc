"""How a given model is cut to fit a schedule."""
