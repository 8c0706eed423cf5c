"""Reports about a shop's data, and the snapshot of a shop."""
