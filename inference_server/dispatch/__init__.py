"""Dispatch: any idle consumer of a queue takes the oldest request, whichever worker received it.

```
   worker 0                                kernel                    worker 1
   dispatcher ── buffer (memfd), number ──► queue N ──► recvmsg ──── consumer thread
     ▲                                      (a socketpair              │ claims the buffer,
     │                                       all inherit)              │ writes the answer into it
     └────── completion: number ◄─── worker 0's completion socket ◄────┘
```

What is sent is `work`: an operation of a model on bytes, in a numbered queue. The worker whose event loop
received a call is its *dispatcher*. It puts the work into a `request_buffer`, a file in memory, and sends
that through the queue. An idle `consumer` thread of this queue receives it, claims it, and writes the answer
into the same file. Nothing here knows what the bytes mean. What all share is made by the supervisor and
inherited (`shared`): the queues, a completion socket for each worker, and `stats`, a row for each worker,
from which `admission` sees the load of a queue and the supervisor sees who makes progress; and a
`publication`, by which the supervisor tells all of them the same.

The consumers of queue 0 are threads of the workers themselves. Those of the other queues are model workers,
which receive no calls, and compute what waits together (`batch_consumer`).

Nothing here is locked: a lock would die with its holder. A worker may be killed at any instruction; its
supervisor tells the others, and every dispatcher requeues what the dead one had, or may have had, in flight.
So a request may be computed twice, rarely, and is answered once. A payload that was in flight at two deaths
is not tried a third time, and is in flight at no third worker until then (`poison`).
"""
