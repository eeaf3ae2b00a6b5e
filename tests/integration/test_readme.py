"""What the README says can be typed, is typed: all of its quick start, in order, in one shell."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eldermesh_cli.stack.data_dir import data_dir_owner
from tests.mesh import mesh_environment

README = Path(__file__).parents[2] / "README.md"
SECONDS = 240.0


def quick_start() -> str:
    """The section's blocks as a shell script; a Python block is a program on standard input."""
    section = README.read_text("utf-8").split("\n## Quick start\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert [kind for kind, _ in blocks].count("python") == 2
    return "\n".join(
        text if kind == "sh" else f"{sys.executable} - <<'END_OF_PROGRAM'\n{text}END_OF_PROGRAM\n"
        for kind, text in blocks
    )


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory; a mesh that a failed script left there is stopped."""
    yield tmp_path / "data"
    owner = data_dir_owner(tmp_path / "data")
    if owner is not None:
        os.kill(owner.pid, 9)
        assert await owner.wait_gone(30.0)


@pytest.mark.slow
async def test_the_quick_start_can_be_typed(data_dir: Path) -> None:
    """Every command exits with 0 and answers what the text around it claims; at the end no mesh runs."""
    env = mesh_environment(data_dir) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", quick_start()),
        cwd=data_dir.parent,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await shell.communicate()
    told = output.decode()
    assert shell.returncode == 0, told
    for expected in (
        "The mesh is ready",
        "3 succeeded of 3",
        "1000 succeeded of 1000",
        "4f970e3e-d1a3-5d45-8587-591465c16100",
        "process item",
        "completed [1",
        "The mesh has stopped",
    ):
        assert expected in told, f"{expected!r} is not in:\n{told}"
    assert re.search(r"breaches +0\b", told), told
    assert data_dir_owner(data_dir) is None
