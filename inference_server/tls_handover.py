"""How the supervisor's children get TLS: with what its files held when they last could be used.

So one that is started while they cannot be used serves all the same.
"""

import contextlib
import json
import os
from collections.abc import Iterator

from utils.settings import Settings
from utils.tls import Pem, TlsFiles, server_tls

_ENCODING = "latin-1"
"""Has a character for every byte."""


@contextlib.contextmanager
def handed_over(files: TlsFiles | None) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Arguments of a child's command line, and descriptors that it has to inherit, while it is started.

    Raises:
        TlsUnusable: The files cannot be used, and never could.
    """
    if files is None:
        yield [], ()
        return
    content = json.dumps([part.decode(_ENCODING) for part in files.current()])
    with os.fdopen(os.memfd_create("facet-tls"), "w") as memory:
        memory.write(content)
        memory.flush()
        yield ["--tls-fd", str(memory.fileno())], (memory.fileno(),)


def taken_over(settings: Settings, descriptor: str) -> TlsFiles | None:
    """The files of a child, which has this argument; empty where its supervisor hands nothing over."""
    if not descriptor:
        return server_tls(settings)
    with os.fdopen(int(descriptor), "r") as memory:
        memory.seek(0)  # which is shared with the supervisor
        return server_tls(settings, Pem(*(part.encode(_ENCODING) for part in json.load(memory))))
