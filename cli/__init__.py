"""`facet`, the command line: docs/cli.md."""
