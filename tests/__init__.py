"""Tests: unit, integration (real servers), e2e (the Procfile's processes), parity (the reference), system.

`soak` is longer than a test. What they share is in `support`.
"""
