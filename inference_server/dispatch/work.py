"""What is sent through a queue: an operation of a model on bytes."""

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """One operation of one model on a payload. Times are of the monotonic clock.

    Attributes:
        model: Name of the model.
        operation: What of the model is called.
        context: What else the two ends tell each other, in a form of their own.
        payload: What the operation is about; the bytes that count against the limit of waiting bytes.
        cost: Expected amount of computation, in a unit that the model defines; finite, greater than 0.
            Seconds per unit are learned for each queue.
        received: When it was received.
        deadline: When its answer is no longer wanted.
        grace: Seconds at the start of its computation in which it may show no progress.
        queue: Number of the queue whose consumers host the model.

    Raises:
        ValueError: The cost is out of its range.
    """

    model: str
    operation: str
    context: bytes
    payload: bytes
    cost: float
    received: float
    deadline: float
    grace: float = 0.0
    queue: int = 0

    def __post_init__(self) -> None:
        """Refuse what no rate could be learned from."""
        if not 0 < self.cost < math.inf:
            raise ValueError(f"the cost is {self.cost}; it must be finite and greater than 0")

    def key(self) -> bytes:
        """SHA-256 of model and payload, by which work that ends its process is known: 32 bytes."""
        model = self.model.encode()
        digest = hashlib.sha256(b"%d:%s" % (len(model), model))  # with its length no two pairs are the same
        digest.update(self.payload)
        return digest.digest()
