"""The HTTP server: gunicorn's processes, uvicorn's connections, and a thread for each complete request.

    protocol    one connection: what of HTTP is accepted, and how long its client is waited for
    body        a request's body, collected on the event loop or read by the application as it arrives
    adapter     a request of uvicorn's (ASGI) becomes a call of the Flask application (WSGI)
    worker      one process, from its start to its end

Nobody but a complete request holds a thread, so clients that send or read slowly hold up nobody.
"""
