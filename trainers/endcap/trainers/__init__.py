"""Trainers: from a snapshot to a bundle that the server loads."""
