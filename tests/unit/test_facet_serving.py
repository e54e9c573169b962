"""Rules of what authors of models import, and of classes that they configure in their own way."""

import math
import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import facet_serving
from facet_serving import Model
from inference_server.models.operations import operations_of
from inference_server.models.schema import Schema
from tests.support.processes import ROOT
from utils import errors
from utils.service_client import ServiceClient

FORM = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n--x--\r\n'


def test_authors_need_no_more_than_this_package() -> None:
    """What it loads beside pydantic and the errors would be in each process of a model, and in no wheel."""
    program = "import sys, facet_serving; print(*sorted(m for m in sys.modules if m.split('.')[0] in {%s}))"
    ours = "'utils', 'protos', 'inference_server', 'gateway', 'google', 'grpc', 'numpy'"
    found = subprocess.run(
        [sys.executable, "-c", program % ours],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = found.stdout.split()
    assert [name for name in loaded if not name.startswith("utils.errors.")] == ["utils", "utils.errors"]


def test_each_name_that_is_offered_can_be_had_and_no_other() -> None:
    """Clients and modules are imported by that."""
    for name in facet_serving.__all__:
        assert getattr(facet_serving, name) is not None
    assert facet_serving.ServiceClient is ServiceClient
    assert facet_serving.errors is errors
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = facet_serving.NoSuchName


def test_an_authors_refusal_is_told_as_the_servers_own() -> None:
    """It is the same class, with the field at fault."""
    assert facet_serving.InvalidInput is errors.InvalidInput
    assert facet_serving.InvalidInput("too many petals", field="petals").field == "petals"


def test_a_model_says_how_it_predicts() -> None:
    """There is no default that would answer."""
    with pytest.raises(NotImplementedError):
        Model().predict([])


class Strict(BaseModel):
    """Takes no text for a number, and no list for a tuple."""

    model_config = ConfigDict(strict=True)

    sizes: tuple[int, ...] = ()
    share: float = Field(0.5, alias="Share")


def test_a_strict_class_is_called_in_every_encoding() -> None:
    """Messages have no tuples and forms have texts alone, whatever the class says."""
    schema = Schema("m", Strict, Strict)
    given = Strict(sizes=(1, 2), Share=0.25)
    assert schema.decode(schema.encode(given)) == given
    operation = operations_of(schema)["multipart"]
    made: list[Any] = operation.decode(FORM % (b"sizes", b"7"), b"multipart/form-data; boundary=x")
    assert made[0].sizes == (7,)


def test_a_strict_class_is_strict_about_json() -> None:
    """Which has numbers of its own."""
    with pytest.raises(errors.InvalidInput) as caught:
        Schema("m", Strict, Strict).input.from_json(b'{"sizes": ["7"]}')
    assert caught.value.field == "sizes.0"


def test_an_alias_is_a_name_in_json_and_in_no_message() -> None:
    """JSON is what pydantic says; a message's fields are numbered by their own names."""
    schema = Schema("m", Strict, Strict)
    assert schema.output.to_json(Strict(Share=1)) == b'{"sizes":[],"Share":1.0}'
    assert schema.input.from_json(b'{"Share": 1}') == Strict(Share=1)
    assert [field.name for field in schema.descriptor.message_type[0].field] == ["sizes", "share"]


class Open(BaseModel):
    """Says itself that its floats may be infinite."""

    model_config = ConfigDict(allow_inf_nan=True)

    value: float


class Closed(BaseModel):
    """Says nothing."""

    value: float


def test_floats_are_finite_unless_the_class_says_otherwise() -> None:
    """Nested or not; the author's class itself stays as it is."""

    class Both(BaseModel):
        """One of each."""

        open: Open
        closed: Closed

    schema = Schema("m", Both, Both)
    fine = {"open": {"value": math.inf}, "closed": {"value": 1}}
    assert schema.decode(schema.encode(schema.output.check(fine))) == Both.model_validate(fine)
    infinite = {"open": {"value": 1}, "closed": {"value": math.inf}}
    with pytest.raises(ValidationError, match=r"closed\.value"):
        schema.output.check(infinite)
    with pytest.raises(ValidationError, match=r"closed\.value"):
        schema.output.check(Both.model_validate(infinite))
