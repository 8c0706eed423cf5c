"""The gRPC process: it takes queries in, decides, and answers."""
