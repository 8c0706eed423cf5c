"""The rules for field values, wherever the values come from; free of the database."""
