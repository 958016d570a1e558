"""Networks trained alike, in one table and one plot."""
