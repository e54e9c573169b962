"""Encoded pictures: what their header says, and their pixels, upright and in RGB."""

from inference_server.images.decoding import Header, decode, inspect, load_decoders

__all__ = ["Header", "decode", "inspect", "load_decoders"]
