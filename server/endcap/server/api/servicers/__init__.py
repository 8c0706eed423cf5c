"""One file a service of the contract: convert in, decide, convert out."""
