"""What a server holds of a shop in memory, and how it is kept up."""
