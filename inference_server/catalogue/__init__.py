"""Which models are served, from where and how: known to the supervisor, and read by all other processes."""
