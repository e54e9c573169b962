"""Encodings of other protocols, in which a call reaches a model."""
