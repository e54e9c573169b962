"""Connections of clients, from accept to close: who waits for what, and who may wait no longer."""
