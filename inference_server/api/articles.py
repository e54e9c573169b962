"""Two published contracts, each answered by the model that a setting names.

`/InferenceServer/inference` classifies pictures, `/Pipeline/run_pipeline` reads the expressions of faces.
Their messages have names that others have, too, so each file has a pool of its own, and the messages pass
through as bytes.
"""

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from inference_server.api.model_call import CLASSIFY, PIPELINE, ModelCaller
from protos.articles import Contract, descriptor
from utils.errors import ModelNotFound
from utils.settings import Settings


@dataclass(frozen=True, slots=True)
class Article:
    """A contract of one method.

    Attributes:
        contract: Its name in protos/articles.
        service: Full name of its service.
        method: Name of its method.
        operation: Of the model that answers it.
        advice: What to do where there is no such model; `{}` stands for its name.
    """

    contract: Contract
    service: str
    method: str
    operation: str
    advice: str


_CLASSIFIER = Article(
    contract="classifier",
    service="InferenceServer",
    method="inference",
    operation=CLASSIFY,
    advice="FACET_CLASSIFIER names the model for this method; `facet models register {}` registers one of "
    "the store.",
)
_EXPRESSION = Article(
    contract="pipeline",
    service="Pipeline",
    method="run_pipeline",
    operation=PIPELINE,
    advice="FACET_EXPRESSION names the model for this method; `facet models fetch expression` puts one into "
    "the store, and `facet models register {}` registers it.",
)


class ArticleService:
    """Answers one contract's method.

    Args:
        article: The contract.
        model: Name of the model that answers it.
        caller: Calls it.
    """

    def __init__(self, article: Article, model: str, caller: ModelCaller) -> None:
        self._article = article
        self._model = model
        self._caller = caller
        self.name = article.service
        file = descriptor(article.contract).SerializeToString()
        self.file = descriptor_pool.DescriptorPool().AddSerializedFile(file)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its method, whose messages are bytes already."""
        answer: Any = grpc.unary_unary_rpc_method_handler(self.answer)
        methods = {self._article.method: answer}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, methods),))

    async def answer(self, message: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Answer a serialized request."""
        try:
            version = self._caller.find(self._model)
        except ModelNotFound as error:
            advice = self._article.advice.format(self._model)
            raise ModelNotFound(f"There is no model {self._model}: {advice}") from error
        answer = self._caller.call(version, self._article.operation, message, context)
        del message
        return await answer


def article_services(caller: ModelCaller, settings: Settings) -> list[ArticleService]:
    """Both, answered by the models that the settings name."""
    return [
        ArticleService(_CLASSIFIER, settings.classifier, caller),
        ArticleService(_EXPRESSION, settings.expression, caller),
    ]
