"""What needs more than `make setup` and nginx: a browser, other languages, public clients."""
