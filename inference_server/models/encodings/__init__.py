"""Encodings of public protocols in which models are called: rows of inference_server.models.operations."""
