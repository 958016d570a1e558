"""Training one network, or a supernet, by a recipe."""
