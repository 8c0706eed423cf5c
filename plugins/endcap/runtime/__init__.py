"""Runs plugins anywhere: plugin host, strategy instances, ONNX models, snapshots as views."""
