"""The built-in kinds of models."""
