"""Checks of this machine: settings, data directory, disk, the services that `mesh up` runs here."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from eldermesh.counted import counted
from eldermesh_cli.answers.stack import PsAnswer
from eldermesh_cli.operate.checks.check import CheckFailed, Found
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.stack.control import request
from eldermesh_cli.stack.errors import NotRunningError, StackError

_MIB = 1024 * 1024
_LOW_BYTES = 2048 * _MIB
_TOO_LOW_BYTES = 200 * _MIB
_ANSWER_SECONDS = 5.0


async def settings_found(mesh: Mesh) -> Found:
    """Where the settings come from."""
    settings = mesh.settings
    where = f"broker {settings.kafka_bootstrap}, topic prefix {settings.topic_prefix!r}"
    if mesh.found_by == "environment":
        return Found(f"from the environment: {where}")
    if mesh.found_by == "runtime":
        return Found(f"of the mesh that runs on {settings.data_dir}: {where}")
    return Found(f"defaults: {where}", mesh.hint)


async def data_dir_writable(mesh: Mesh) -> Found:
    """Whether state can be kept."""
    data_dir = mesh.settings.data_dir
    present = _present(data_dir)
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise CheckFailed(
            f"{present} cannot be written: {error.strerror}", "give MESH_DATA_DIR a directory that is yours"
        ) from error
    return Found(str(data_dir) if present == data_dir else f"{data_dir} will be made when it is needed")


async def disk_free(mesh: Mesh) -> Found:
    """Whether there is room for state."""
    free = shutil.disk_usage(_present(mesh.settings.data_dir)).free
    detail = f"{free // _MIB} MiB free where {mesh.settings.data_dir} lies"
    hint = "make room, or set MESH_DATA_DIR to another disk"
    if free < _TOO_LOW_BYTES:
        raise CheckFailed(detail, hint)
    return Found(detail, hint if free < _LOW_BYTES else None)


async def services_stay(mesh: Mesh) -> Found:
    """Whether the services of the mesh that runs here stay up."""
    try:
        told = await request(mesh.settings.data_dir, "ps", timeout_seconds=_ANSWER_SECONDS)
    except NotRunningError:
        return Found("no supervisor runs here: whoever started the services watches them")
    except (StackError, TimeoutError, OSError) as error:
        raise CheckFailed(f"the supervisor does not answer: {error!r}", "`mesh logs supervisor`") from error
    processes = PsAnswer.model_validate({"processes": told["processes"]}).processes
    ill = [process for process in processes if process.trouble is not None]
    if ill:
        raise CheckFailed(
            "; ".join(f"{process.name} {process.trouble}" for process in ill),
            f"it is started again until it stays; `mesh logs {ill[0].name}` says why it ends",
        )
    return Found(f"{counted(len(processes), 'service')}, none has died lately")


def _present(path: Path) -> Path:
    """The directory, or the nearest of its parents that exists."""
    try:
        present = path.absolute()
    except OSError as error:
        raise CheckFailed(
            f"the data directory {path} is relative, and the working directory: {error.strerror}",
            "choose another by MESH_DATA_DIR, or work in another directory",
        ) from error
    while not present.is_dir() and present != present.parent:
        present = present.parent
    return present
