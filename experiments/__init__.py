"""Runs on disk and the command line: the one place where space, strategies and evaluators meet."""
