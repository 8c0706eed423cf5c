"""Shops, placements, rules and bundles, as the database stores them."""
