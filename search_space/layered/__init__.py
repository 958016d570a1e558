"""Networks as values made of single layers: what the families of `search_space.families` are written in."""
