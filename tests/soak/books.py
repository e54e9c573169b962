"""Whether callers and counters agree on how many requests were answered."""

from tests.soak.stage import Stage
from tests.support.processes import wait_until

_MOST_IN_FLIGHT = 8
"""Calls over gRPC that callers have under way at once: so many answers can be lost, uncounted, by a kill."""
_COUNTED_SECONDS = 5.0
"""Within which an answer is counted."""
_METRICS = {
    "HTTP": ("gateway", "facet_http_key_requests_total", {"status": "200"}),
    "gRPC": ("backend", "facet_key_requests_total", {"code": "OK"}),
}


class Books:
    """What the callers were answered, and what was counted of their key, since some moment.

    At that moment and at the next one nobody asks, and between the two the backend is not started again.

    Args:
        stage: Who answers.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._account = stage.identities.callers
        self.open()

    def open(self) -> None:
        """Begin now."""
        self._answered = {protocol: self._account.answered(protocol) for protocol in _METRICS}
        self._counted = {protocol: self._read(protocol) for protocol in _METRICS}
        self._deaths = self._all_deaths()

    def close(self) -> list[str]:
        """Compare, and begin again; gives what is wrong."""
        faults = [*filter(None, map(self._compare, _METRICS))]
        self.open()
        return faults

    def _compare(self, protocol: str) -> str:
        answered = self._account.answered(protocol) - self._answered[protocol]
        deaths = self._all_deaths() - self._deaths if protocol == "gRPC" else 0
        counted = 0.0

        def agree() -> bool:
            nonlocal counted
            counted = self._read(protocol) - self._counted[protocol]
            return abs(counted - answered) <= deaths * _MOST_IN_FLIGHT

        try:
            wait_until(agree, "they agree", _COUNTED_SECONDS)
        except AssertionError:
            return (
                f"{protocol}: {answered} requests answered, {counted:g} counted, {deaths} deaths of workers"
            )
        return ""

    def _read(self, protocol: str) -> float:
        who, name, labels = _METRICS[protocol]
        return self._stage.scraper.look(who).value(name, key=self._account.name, **labels)

    def _all_deaths(self) -> int:
        return sum("model" not in line for line in self._stage.journal["worker crashed"])
