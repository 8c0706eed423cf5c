"""Files of rows in several formats, read piece by piece in constant memory; every cell is a text."""
