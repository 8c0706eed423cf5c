"""Use cases that change something, free of gRPC and protobuf: servicers and commands call them alike."""
