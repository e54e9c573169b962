"""Which version of a model is counted in which words of the shared memory."""

from collections.abc import Iterable

from inference_server.catalogue.entries import Catalogue
from inference_server.dispatch.counters import NO_MODEL, OF_MODELS, Counters
from inference_server.dispatch.publication import Publication


class CountedPublication:
    """Publishes the catalogue, once the queues of its versions are counted for them.

    Args:
        publication: Of the catalogue.
        counters: Of all versions.
    """

    def __init__(self, publication: Publication, counters: Counters) -> None:
        self._publication = publication
        self._series = Series(counters)

    @property
    def generation(self) -> int:
        """Of what was published last; 0 where nothing was."""
        return self._publication.generation

    def publish(self, content: bytes) -> int:
        """Publish a catalogue as the next generation, and give that."""
        versions = Catalogue.from_json(content).versions
        self._series.count((one.queue, one.key if one.version else "") for one in versions)
        return self._publication.publish(content)


class Series:
    """Gives series to versions, which keep them when they are gone, until others need them.

    Args:
        counters: In which the series are.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._of_keys: dict[str, int] = {}  # the one that was given longest ago is the first

    def count(self, versions: Iterable[tuple[int, str]]) -> None:
        """Have queues counted for versions, before these can be called.

        Args:
            versions: The queue and the key of each; the key is empty while its version's number is not known.
        """
        for queue, key in versions:
            if queue:  # that of faces is always counted for them
                self._counters.assign(queue, self._of(key) if key else NO_MODEL)

    def _of(self, key: str) -> int:
        series = self._of_keys.pop(key, None)
        if series is None:
            series = self._free()
            self._counters.begin(series)
        self._of_keys[key] = series
        return series

    def _free(self) -> int:
        """One that no version ever had, or that of the version that was last there longest ago."""
        if len(self._of_keys) < len(OF_MODELS):
            return OF_MODELS[len(self._of_keys)]
        counted = self._counters.mapping()
        key = next(key for key, series in self._of_keys.items() if series not in counted)
        return self._of_keys.pop(key)
