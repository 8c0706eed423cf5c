"""Users and visitors, and how they are forgotten."""
