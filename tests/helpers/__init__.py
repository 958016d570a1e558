"""What tests have in common, by what it is about; fixtures are in conftest.py."""
