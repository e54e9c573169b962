"""Which release this is."""

VERSION = "1.0.0.dev0"
"""As the distribution has it: of the release to come, with `.dev0` until it is made."""
