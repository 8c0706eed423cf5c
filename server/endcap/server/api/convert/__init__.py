"""Protobuf to the platform's values and back, a module a resource: the only place that knows both."""
