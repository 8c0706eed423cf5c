"""The data of a shop that a server holds in memory, and how it is kept up to date."""
