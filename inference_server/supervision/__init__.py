"""The parent of the workers: the address, the line to each, and what is done when one hangs or dies."""
