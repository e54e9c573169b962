"""Models of Triton's repositories, put into the store as their config.pbtxt says."""

from inference_server.models.triton.findings import Finding
from inference_server.models.triton.importing import Examined, examine, import_versions

__all__ = ["Examined", "Finding", "examine", "import_versions"]
