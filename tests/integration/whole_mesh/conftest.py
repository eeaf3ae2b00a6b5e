"""One whole embedded mesh, started by `mesh up`.

An idle mesh takes a fifth of a core, so it lives no longer than the tests of this folder, which one process runs in
turn (`tests/slow_first.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mesh import RunningMesh, mesh_environment, mesh_up


@pytest.fixture(scope="package")
def running_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """One for all tests of this folder, with tenants and ids of their own; it ends with them, however these end."""
    data_dir = tmp_path_factory.mktemp("mesh")
    with mesh_up(data_dir, mesh_environment(data_dir)) as mesh:
        yield mesh
