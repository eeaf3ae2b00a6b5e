"""Run `mesh` command lines in this process, as its entry point does, without a mesh to speak to."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import jsonschema
import pytest

from eldermesh_cli.answers.schemas import named_schema
from eldermesh_cli.program.command_line import run


@dataclass(frozen=True)
class Ran:
    """How a command line ended."""

    status: int
    stdout: str
    stderr: str

    def answer(self, schema: str) -> Any:
        """Standard output as JSON, which has to be what the schema says."""
        value = json.loads(self.stdout)
        check_answer(value, schema)
        return value

    def error(self) -> Mapping[str, Any]:
        """Standard error as the JSON of an error; it holds nothing else, and standard output nothing at all."""
        assert self.stdout == ""
        return error_in(self.stderr)


def check_answer(value: Any, schema: str) -> None:
    """See that a JSON value is what `mesh schema` says."""
    jsonschema.validate(value, named_schema(schema), cls=jsonschema.Draft202012Validator)


def error_in(stderr: str) -> Mapping[str, Any]:
    """The error that standard error holds, and nothing else."""
    value = json.loads(stderr)
    check_answer(value, "mesh-error")
    error: Mapping[str, Any] = value["error"]
    assert error["hint"], "every error says what to do"
    return error


def run_here(arguments: Sequence[str], environment: Mapping[str, str], stdin: str | None = None) -> Ran:
    """Run one in this process, with these settings and no others; call it from a thread without an event loop."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "TRACE"))}
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO((stdin or "").encode()), "utf-8")
    with (
        mock.patch.dict(os.environ, others | dict(environment), clear=True),
        mock.patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = run(arguments)
        out.flush()
    return Ran(status, out.buffer.getvalue().decode(), err.getvalue())


class CommandLine:
    """Runs command lines in an environment without any `MESH_*` but those given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._monkeypatch = monkeypatch
        self._captured = capfdbinary

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ran:
        """Run one."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = run(arguments)
        out, err = self._captured.readouterr()
        return Ran(status, out.decode(), err.decode())
