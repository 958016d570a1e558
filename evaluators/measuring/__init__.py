"""How good a trained network is, and how far such figures can be trusted."""
