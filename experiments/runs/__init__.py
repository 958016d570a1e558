"""Runs on disk: folders, records, provenance, and what a config asks for."""
