"""Many pictures in one request, each a call of its own.

batch   reads the pictures while they arrive, has each answered, and gives what comes of it
room    how many of them, and of their bytes, there are at once
outbox  answers that the client has not taken yet, in a file where they are many
lines   an outcome as a line of JSON
"""
