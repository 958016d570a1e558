"""A search from config to winner, and the Pareto set it leaves."""
