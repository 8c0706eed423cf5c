"""What fields may hold, wherever they come from; no database in it."""
