"""What takes minutes or a machine of its own: containers, systemd. `make test-heavy` keeps what was found."""
