"""A classifier of flowers, trained by scikit-learn: as a package of its author's, and as ONNX."""

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

SOURCE = '''
"""Names irises by their measures."""

import pickle

from facet_serving import Model
from pydantic import BaseModel, Field

CLASSIFIER = {classifier!r}
SPECIES = {species!r}


class Measures(BaseModel):
    sepal_length: float = Field(gt=0, lt=100)
    sepal_width: float = Field(gt=0, lt=100)
    petal_length: float = Field(gt=0, lt=100)
    petal_width: float = Field(gt=0, lt=100)


class Named(BaseModel):
    species: str
    probabilities: dict[str, float]


class Iris(Model):
    name = "iris"
    version = "1.2"
    description = "Names an iris by its measures."
    Input = Measures
    Output = Named
    max_batch = 16

    def load(self, folder, options):
        self.classifier = pickle.loads(CLASSIFIER)

    def predict(self, inputs):
        rows = [[*one.model_dump().values()] for one in inputs]
        answers = self.classifier.predict_proba(rows)
        return [
            Named(species=SPECIES[row.argmax()], probabilities=dict(zip(SPECIES, row.tolist())))
            for row in answers
        ]
'''
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES = ("setosa", "versicolor", "virginica")

Floats = npt.NDArray[np.float64]


class Trained:
    """A classifier that was trained on the measures of 150 flowers.

    Attributes:
        flowers: Their measures, (150, 4).
        probabilities: What scikit-learn itself says of them, (150, 3).
    """

    def __init__(self) -> None:
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        flowers, species = load_iris(return_X_y=True)
        self.flowers: Floats = flowers
        self._classifier: Any = LogisticRegression(max_iter=1000).fit(flowers, species)
        self.probabilities: Floats = self._classifier.predict_proba(flowers)

    def source(self) -> str:
        """The only module of a package that serves it."""
        return SOURCE.format(classifier=pickle.dumps(self._classifier), species=SPECIES)

    def onnx(self) -> bytes:
        """It, as scikit-learn's converter writes it."""
        from skl2onnx import to_onnx

        content: bytes = to_onnx(self._classifier, self.flowers[:1].astype(np.float32)).SerializeToString()
        return content
