"""The kernel that both sides share: domain types, errors, settings, codec, client, logs."""
