"""The HTTP endpoint: a Flask application that parses, calls the backend and answers, and decodes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from gateway.backend import Backend
    from utils.settings import Settings


def create_app(settings: Settings | None = None, client: Backend | None = None) -> Flask:
    """Build the gateway.

    Args:
        settings: What the operator decided; read from the environment where None.
        client: The connection to the backend; a ServiceClient for the settings' backend where None.

    Raises:
        InvalidSetting: The environment has a setting that cannot be used.
    """
    # gunicorn's master loads this package to find its worker class. What it does not load here, the
    # workers load themselves: anew after a reload, and no gRPC before the fork.
    from gateway.app import build  # noqa: PLC0415

    return build(settings, client)
