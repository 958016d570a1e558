"""What the evaluators share: progress bars, moving tensors to a device."""
