"""Budgets, and exact answers about the architectures inside one."""
