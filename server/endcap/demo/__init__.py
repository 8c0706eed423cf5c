"""A real shop's data, cleaned, and a tour of the platform on it."""
