"""The models that are served, and the encoding of their requests and answers in the queue."""
