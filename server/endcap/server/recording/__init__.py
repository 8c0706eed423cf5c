"""What is recorded: exposures, and the tokens that join events to them."""
