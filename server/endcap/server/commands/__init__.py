"""The commands of the server's room."""
