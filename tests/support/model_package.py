"""A package of somebody else's models, built and installed by pip as its author would publish it."""

import hashlib
import os
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

ODD_MODELS = '''
"""Models that do what a server must survive."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from facet_serving import Model
from pydantic import BaseModel


class Text(BaseModel):
    text: str = ""


class Number(BaseModel):
    number: int


class Upper(Model):
    """Well-behaved, and says which process answered."""

    name = "upper"
    version = "1.0"
    description = "A text in capitals."
    max_batch = 4

    class Input(BaseModel):
        text: str

    class Output(BaseModel):
        text: str
        pid: int

    def predict(self, inputs):
        return [self.Output(text=each.text.upper(), pid=os.getpid()) for each in inputs]


class Wide(Model):
    """Its card is longer than an argument of a process may be."""

    class Input(BaseModel):
        label: Literal[tuple(f"the label of this model with number {number}" for number in range(4000))]

    Output = Number

    def predict(self, inputs):
        return [Number(number=len(inputs)) for _ in inputs]


class Slow(Model):
    """Takes 0.6 s for each picture, at which it does not look."""

    class Input(BaseModel):
        image: bytes

    class Output(BaseModel):
        class_id: int

    def predict(self, inputs):
        time.sleep(0.6 * len(inputs))
        return [self.Output(class_id=len(one.image)) for one in inputs]


class Odd(Model):
    """Does what its input says."""

    name = "odd"
    Input = Text
    Output = Number

    def predict(self, inputs):
        return [getattr(self, each.text)() for each in inputs]

    def print(self):
        print("a line of the model's own", flush=True)
        sys.stderr.write("another\\n")
        return Number(number=1)

    def fork(self):
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        return Number(number=child)

    def block(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        return Number(number=1)

    def leave(self):
        sys.exit(7)

    def exit(self):
        os._exit(7)

    def crash(self):
        ctypes.string_at(0)

    def hang(self):
        time.sleep(600)

    def hold(self):
        print("holding", flush=True)
        ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock

    def allocate(self):
        held = []
        while True:
            held.append(bytearray(64 * 1024**2))

    def wrong(self):
        return {"number": "no number"}

    def fail(self):
        raise RuntimeError("as it was told to")

    def work(self):
        return Number(number=os.getpid())


class LoadsBadly(Model):
    Input = Text
    Output = Number

    def predict(self, inputs):
        return [Number(number=0) for _ in inputs]


class LoadRaises(LoadsBadly):
    name = "load-raises"

    def load(self, folder, options):
        raise RuntimeError("the weights are not there")


class LoadCrashes(LoadsBadly):
    name = "load-crashes"

    def load(self, folder, options):
        ctypes.string_at(0)


class LoadHangs(LoadsBadly):
    name = "load-hangs"

    def load(self, folder, options):
        time.sleep(600)


class LoadExits(LoadsBadly):
    name = "load-exits"

    def load(self, folder, options):
        os._exit(0)
'''

ODD_ENTRY_POINTS = {
    "upper": "odd_models:Upper",
    "odd": "odd_models:Odd",
    "wide": "odd_models:Wide",
    "slow": "odd_models:Slow",
    "load-raises": "odd_models:LoadRaises",
    "load-crashes": "odd_models:LoadCrashes",
    "load-hangs": "odd_models:LoadHangs",
    "load-exits": "odd_models:LoadExits",
}


def installed(folder: Path, name: str, source: str, models: Mapping[str, str]) -> dict[str, str]:
    """Install a package of one module.

    Args:
        folder: For the wheel and what pip makes of it.
        name: Of the module and of its distribution.
        source: Of the module.
        models: Entry points `facet.models`: a model's name, and `module:Class`.

    Returns:
        The environment in which it is found.
    """
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    points = "".join(f"{model} = {where}\n" for model, where in models.items())
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[facet.models]\n{points}",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        record = "".join(f"{path},{_digest(text)},{len(text.encode())}\n" for path, text in files.items())
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--quiet", "--target", str(target), str(wheel)], check=True, timeout=120)
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def _digest(text: str) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"
