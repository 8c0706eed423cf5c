"""Items: written, listed and searched."""
