"""A shop in memory: what its answers are made from, and what guards its strategies."""
