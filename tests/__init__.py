"""Tests: unit, integration (real servers), e2e (the Procfile's processes), parity (the reference), soak.

What they share is in `support`.
"""
