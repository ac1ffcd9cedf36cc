"""From a model to costs: what a model's configuration says of its layers, counted by libraries or measured."""
