"""Random changes to batches of training images."""
