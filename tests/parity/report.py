"""The parity report that every run of these tests ends with."""

from dataclasses import dataclass

from tests.parity.comparison import Pair


@dataclass(frozen=True)
class Report:
    """How an engine compares with the reference on a set of pictures."""

    engine: str
    pictures: str
    pairs: list[Pair]
    exceptions: dict[str, str | None]

    @property
    def equal_counts(self) -> int:
        return sum(pair.same_count for pair in self.pairs)

    @property
    def equal_rounded(self) -> int:
        return sum(pair.same_rounded for pair in self.pairs)

    def lines(self) -> list[str]:
        total = len(self.pairs)
        faces = sum(len(pair.expected) for pair in self.pairs)
        equal = [pair for pair in self.pairs if pair.same_rounded]
        largest = max(equal, key=lambda pair: pair.largest_difference, default=None)
        text = [
            f"{self.engine}, {self.pictures}: {total} images, {faces} faces",
            f"  equal counts         {self.equal_counts} of {total}",
            f"  equal after rounding {self.equal_rounded} of {total} ({self.equal_rounded / total:.2%})",
        ]
        if largest is not None:
            text.append(f"  largest difference   {largest.largest_difference:.5f} px, in {largest.name}")
        text += [f"  exception: {name}: {why or 'UNEXPLAINED'}" for name, why in self.exceptions.items()]
        return text
