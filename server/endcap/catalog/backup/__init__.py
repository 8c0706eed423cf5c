"""Backup and restore of a database."""
