"""The command line: every command on every stream, and what it does when things go wrong."""
