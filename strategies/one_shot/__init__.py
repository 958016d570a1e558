"""Strategies that search while they train one supernet, and the training of supernets."""
