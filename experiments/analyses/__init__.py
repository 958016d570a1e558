"""Why the papers' operators work: analyses with a command, a table and a picture each."""
