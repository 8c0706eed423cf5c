"""Shops, placements, rules and bundles as they are stored."""
