"""Models: what computes the networks, and which others are served."""

from dataclasses import dataclass
from pathlib import Path

from utils.settings.folders import default_cache_dir, default_model_store, default_state_dir
from utils.settings.kinds import BY_BACKEND, FOLDER, MODELS, NAME, one_of, setting

ENGINES = ("auto", "native", "onnx", "tensorflow")
"""What FACET_ENGINE may be."""
INSTRUCTION_SETS = ("auto", "avx512", "avx2", "base")
"""What FACET_NATIVE_ISA may be; best first after auto."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Models: what computes the networks, and which others are served."""

    engine: str = setting(
        one_of(*ENGINES),
        BY_BACKEND,
        "What computes the networks. auto takes the fastest that this machine can run, and never tensorflow.",
        default="auto",
    )
    native_isa: str = setting(
        one_of(*INSTRUCTION_SETS),
        BY_BACKEND,
        "Instruction set of the native engine; one that the CPU cannot run stops the start.",
        default="auto",
    )
    models: tuple[str, ...] | None = setting(
        MODELS,
        BY_BACKEND,
        "Models to serve from the start; then nothing is read from FACET_STATE_DIR or written to it. "
        "face_detection is always served by its own methods; as a model it is listed where it is named "
        "here, or nothing is.",
        shown="what FACET_STATE_DIR remembers",
    )
    model_store: Path | None = setting(
        FOLDER,
        BY_BACKEND,
        "Folder of models, NAME/VERSION/model.toml each.",
        factory=default_model_store,
        shown="$XDG_DATA_HOME/facet/models, or ~/.local/share/facet/models",
    )
    state_dir: Path | None = setting(
        FOLDER,
        BY_BACKEND,
        "Folder of what a backend remembers of its models, and of the socket by which `facet models` reaches "
        "it; one for each backend.",
        factory=default_state_dir,
        shown="$XDG_STATE_HOME/facet, or ~/.local/state/facet",
    )
    cache_dir: Path = setting(
        FOLDER,
        BY_BACKEND,
        "Folder of the converted models; written once, by the first start.",
        factory=default_cache_dir,
        shown="$XDG_CACHE_HOME/facet, or ~/.cache/facet",
    )
    classifier: str = setting(
        NAME, BY_BACKEND, "Model that answers `/InferenceServer/inference`.", default="classifier"
    )
    expression: str = setting(
        NAME, BY_BACKEND, "Model that answers `/Pipeline/run_pipeline`.", default="expression"
    )
