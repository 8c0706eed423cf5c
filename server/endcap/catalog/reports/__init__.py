"""Reports about a shop's data, and its snapshot."""
