"""What a request may have: bytes, pixels and time."""

from dataclasses import dataclass

from utils.settings.kinds import BY_BACKEND, BY_BOTH, BY_GATEWAY, seconds, setting, some_of, whole

IMAGE_FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic")
"""What FACET_IMAGE_FORMATS may name."""


@dataclass(frozen=True, kw_only=True)
class RequestSettings:
    """What a request may have: bytes, pixels and time."""

    timeout_seconds: float = setting(
        seconds(0.01, 3600),
        BY_BOTH,
        "Time that a request has when it does not say; over HTTP counted from the end of its body.",
        default=5.0,
        shown="5",
    )
    max_timeout_seconds: float = setting(
        seconds(0.01, 3600),
        BY_BOTH,
        "Longest time that a request may ask for; a longer one is cut to it.",
        default=60.0,
        shown="60",
    )
    queue_seconds: float = setting(
        seconds(0.01, 3600),
        BY_BACKEND,
        "Longest predicted wait with which a request that names no time is still accepted.",
        default=2.0,
        shown="2",
    )
    max_image_bytes: int = setting(
        whole(1024, 256 * 1024**2),
        BY_BOTH,
        "Largest encoded image, in bytes.",
        default=10 * 1024**2,
        shown="10485760 (10 MiB)",
    )
    max_image_pixels: int = setting(
        whole(1024, 10**9),
        BY_BACKEND,
        "Largest image, in pixels; also the largest total area of its pyramid.",
        default=25_000_000,
    )
    image_formats: tuple[str, ...] = setting(
        some_of(*IMAGE_FORMATS),
        BY_BACKEND,
        "Formats of images that are accepted; others are refused by their first bytes.",
        default=IMAGE_FORMATS,
        shown="all",
    )
    max_candidates: int = setting(
        whole(100, 10**7),
        BY_BACKEND,
        "Most boxes that may enter one round of non-maximum suppression.",
        default=20_000,
    )
    max_request_bytes: int = setting(
        whole(1024, 256 * 1024**2),
        BY_BOTH,
        "Largest request to a model, in bytes; those to find faces have FACET_MAX_IMAGE_BYTES. An answer of "
        "a model may have as many as the larger one of the two.",
        default=32 * 1024**2,
        shown="33554432 (32 MiB)",
    )
    max_batch_items: int = setting(
        whole(1, 10_000), BY_GATEWAY, "Most files of a `/predict/batch`.", default=100
    )
    max_batch_bytes: int = setting(
        whole(1024, 10**13),
        BY_GATEWAY,
        "Largest body of a `/predict/batch`, in bytes; each file may have FACET_MAX_IMAGE_BYTES.",
        default=256 * 1024**2,
        shown="268435456 (256 MiB)",
    )
    body_pause_seconds: float = setting(
        seconds(0.1, 3600),
        BY_GATEWAY,
        "Time without a byte of a request's body after which no more of it is waited for.",
        default=10.0,
        shown="10",
    )
    body_seconds: float = setting(
        seconds(0.1, 86400),
        BY_GATEWAY,
        "Time that a body may take in all where its request names no time of its own.",
        default=60.0,
        shown="60",
    )
    body_budget_bytes: int = setting(
        whole(1024, 10**13),
        BY_GATEWAY,
        "Bytes of bodies that each gateway process may hold at once.",
        default=256 * 1024**2,
        shown="268435456 (256 MiB)",
    )
