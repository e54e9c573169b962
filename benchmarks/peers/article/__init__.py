"""The design that Facet started from, as its published article describes it, and no more than that.

```
   gunicorn, 2 sync processes: ──► one channel each ──► bare SO_REUSEPORT ──► a process for each core:
   Flask, json, base64                                                        sync gRPC server, 5 threads,
                                                                              one MTCNN()
```

No deadline, no retry, no admission, no dispatch; the package `mtcnn` and TensorFlow as they are installed.
"""
