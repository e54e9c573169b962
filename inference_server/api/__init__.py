"""The gRPC endpoint of a worker: its server, and one module for each service."""
