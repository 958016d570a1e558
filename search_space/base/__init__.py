"""What everything of sepnas stands on: the error type, checks of fields, whole-or-nothing files."""
