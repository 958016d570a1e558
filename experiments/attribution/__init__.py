"""What the operators of a winner are worth: each swapped for a plain depthwise convolution at equal cost."""
