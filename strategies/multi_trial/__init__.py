"""Strategies that score one architecture after another."""
