"""The HTTP server: gunicorn's processes, uvicorn's connections, and a thread for each complete request.

    worker      one process, from its start to its end
    listener    accepts connections while there is room
    connection  how long a client is waited for
    protocol    what of HTTP is accepted, and how the rest is refused
    adapter     a request of uvicorn's (ASGI) becomes a call of the Flask application (WSGI)
    body        a request's body, piece by piece or as a file of a thread
    call        one call of the application, in a thread

Nobody but a complete request holds a thread, so clients that send or read slowly hold up nobody.
"""
