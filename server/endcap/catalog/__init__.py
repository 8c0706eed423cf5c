"""The catalog: what a shop sells, what people did with it, and what the server needs to answer from it."""
