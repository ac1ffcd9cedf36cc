"""The model and the machine: devices, stages, layers, costs, memory, communication, placement."""
