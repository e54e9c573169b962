"""The soak: the whole of Facet under load while things break, every answer compared with the right one.

`python -m tests.soak` runs for SOAK_SECONDS (600) and prints a table; tests/system/test_soak.py runs each
event once. `photos`, `endpoints`, `model_callers`, `protocol_callers`, `kserve` and `load` are who asks, by
the keys and certificates of `identities`. `stage` is who answers at `addresses`, `operators` and `changes`
are who changes models, `scraper` is who reads the metrics. `events`, `harm`, `surroundings` and
`model_events` are what happens to them, `books` compares what was answered with what was counted, `leaks` is
what must not be left, `report` is what is told. Behind it `sudden_ends` kills the supervisor amid changes of
the models, again and again.
"""
