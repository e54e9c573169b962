"""What a caller is shown who sent something else than a picture: commands that work."""

import re
from collections.abc import Callable, Iterable

from utils.errors import MalformedRequest, shown

_LONGEST_NAME = 255
_URL = re.compile(r"\s*(?:https?|ftp|file|s3|gs)://", re.IGNORECASE)
_FILE_NAME = re.compile(
    r"[^\x00-\x1f]+\.(?:jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf])\s*", re.IGNORECASE
)


def curl_lines(host: str) -> tuple[str, str]:
    """Two commands that send photo.jpg to this host: as a form, and as JSON."""
    url = f"http://{host}/predict"
    # curl's -d takes out the line breaks that base64 puts in.
    as_json = """(echo '{"image": "'; base64 < photo.jpg; echo '"}')"""
    return (
        f"curl -F image=@photo.jpg {url}",
        f"{as_json} | curl -H 'Content-Type: application/json' -d @- {url}",
    )


def batch_line(host: str) -> str:
    """A command that sends two pictures to this host in one request."""
    return f"curl -F a=@a.jpg -F b=@b.jpg http://{host}/predict/batch"


def refuse_reference(text: str, host: Callable[[], str]) -> None:
    """Refuse an image that only says where the picture is; neither text is base64 or a picture.

    Raises:
        MalformedRequest: It is a URL or the name of a file.
    """
    refuse_urls([("image", text)], host)
    if len(text) <= _LONGEST_NAME and _FILE_NAME.fullmatch(text):
        raise MalformedRequest(
            f"image is the name {shown(text)!r} and not a picture; send the file itself: "
            f"{curl_lines(host())[0]}",
            field="image",
        )


def refuse_urls(members: Iterable[tuple[str, object]], host: Callable[[], str]) -> None:
    """Refuse a URL where a picture should be.

    Args:
        members: Names and values of what is, or would be, a picture.
        host: For a command that works.

    Raises:
        MalformedRequest: One of the values is a URL.
    """
    for name, value in members:
        if isinstance(value, str) and _URL.match(value):
            raise MalformedRequest(
                f"{shown(name)} is a URL; pictures are never fetched, so send the picture itself: "
                f"curl -s URL | curl --data-binary @- -H 'Content-Type: image/*' http://{host()}/predict",
                field=shown(name),
            )
