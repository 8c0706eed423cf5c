"""Files of rows, read piece by piece in constant memory, whatever their format: every cell is a text."""
