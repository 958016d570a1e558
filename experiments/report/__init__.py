"""A page on a run that leaves the house: one HTML file that needs no network, and its figures as PNG and SVG."""
