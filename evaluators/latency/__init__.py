"""How long networks take, and tables that predict it."""
