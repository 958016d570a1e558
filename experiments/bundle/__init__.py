"""Bundles: a trained network in files that run anywhere, and classifying pictures with them."""
