"""Events and exposures: written, kept and pruned."""
