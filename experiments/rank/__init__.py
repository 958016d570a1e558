"""Judging whether a supernet ranks architectures as their own trainings do."""
