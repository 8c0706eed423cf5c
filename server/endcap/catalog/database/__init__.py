"""The database engine, the tables and their migrations."""
