"""Which release this is."""

VERSION = "unreleased"
"""As CHANGELOG.md calls it."""
