"""The command line: finds commands by entry point and imports no room."""
