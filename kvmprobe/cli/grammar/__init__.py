"""The command line's grammar: what each command takes, and what that comes to."""
