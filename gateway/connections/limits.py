"""How long, in seconds, and how much a client of the gateway is waited for."""

FIRST_SECONDS = 10.0
"""From accept to the first byte of a first request; only a client that has asked may come back after long."""
HEAD_SECONDS = 5.0
"""From the first byte of a request's head to its last."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a head that has not ended; gunicorn has limits of its own for the parts of one that has."""
BODY_SECONDS = 10.0
"""From when a thread sees to a request to the end of its body; less where the request itself has less."""
ANSWER_SECONDS = 10.0
"""From the first byte of an answer to its last; and for room for it, where earlier ones were not taken."""
LINGER_SECONDS = 5.0
"""For a client to finish sending and to read its answer before the connection is cut."""
LAST_SECONDS = 2.0
"""The same, and for an idle connection's next request, once the process leaves."""
