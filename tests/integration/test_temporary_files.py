"""Temporary files of services lie below the data directory, and none is left when a service has stopped."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from eldermesh.client import Client
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.service import Service, ServiceSpec
from tests.integration.test_path import WAIT_SECONDS, square_roots
from tests.mesh_services import mesh_services
from tests.waiting import wait_until

HOLDS_A_MANAGER = """
import multiprocessing, pathlib, signal, sys, tempfile
if __name__ == "__main__":
    manager = multiprocessing.Manager()  # a directory, and a socket in it
    pathlib.Path(sys.argv[1]).write_text(tempfile.gettempdir())
    signal.pause()
"""


async def test_what_a_killed_service_left_goes_when_it_starts_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A directory of multiprocessing outlives SIGKILL, not the next start; after a stop there is none at all."""
    tmp_path = tmp_path_factory.mktemp("m")  # short: a socket's path has at most 107 bytes
    program, told = tmp_path / "program.py", tmp_path / "told"
    program.write_text(HOLDS_A_MANAGER, "utf-8")

    async def ready() -> None:
        if not told.exists() or not told.read_text("utf-8"):
            raise NotReadyError("not yet")

    spec = ServiceSpec(name="holder", command=(sys.executable, str(program), str(told)), ready=ready)
    service = Service(spec, log_dir=tmp_path / "logs")
    directory = tmp_path / "tmp" / "holder"
    await service.bring_up()
    assert Path(told.read_text("utf-8")) == directory
    assert directory.stat().st_mode & 0o777 == 0o700
    (left,) = directory.iterdir()
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    await service.wait()
    assert left.exists()
    told.unlink()
    await service.bring_up()
    assert not left.exists()
    assert len(list(directory.iterdir())) == 1
    await service.shut_down()
    assert not directory.exists()


@pytest.mark.slow
async def test_every_process_of_a_mesh_has_its_temporary_files_there(embedded_broker: str, tmp_path: Path) -> None:
    """Router, worker, its children and their item hosts; a child that is killed leaves nothing behind a stop."""
    async with mesh_services(embedded_broker, "embedded", tmp_path, python_functions="math:*") as mesh:
        async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
            submitted = await client.submit(square_roots([4.0] * 20))
            assert (await client.wait(submitted.job_id, WAIT_SECONDS)).status == "completed"
        for service, kinds in ((mesh.router, 1), (mesh.worker, 3)):
            directory = tmp_path / "tmp" / service.spec.name
            root = psutil.Process(service.leash_pid)
            family = [root, *root.children(recursive=True)]
            assert len(family) > kinds
            assert {each.environ()["TMPDIR"] for each in family} == {str(directory)}
        assert mesh.worker.pid is not None
        child = psutil.Process(mesh.worker.pid).children()[0]
        child.kill()
        await wait_until(lambda: not child.is_running(), description="the child is gone")
    assert list((tmp_path / "tmp").rglob("pymp-*")) == []
    assert not (tmp_path / "tmp" / "worker").exists()
