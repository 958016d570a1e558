"""Calls on one or many machines by Ray."""
