"""Import: files of items, users and events into a shop."""
