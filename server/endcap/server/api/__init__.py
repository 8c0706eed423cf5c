"""The gRPC side: reads messages, asks the parts below, writes messages."""
