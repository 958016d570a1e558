"""Drop-in conversion: the convolutions of any network replaced by the operators of the papers."""
