"""One prompt as a job, from its publish to its end, beside bare `claude -p` with the same prompt, in turns.

Both speak to the loopback endpoint, which answers at once: what is measured is what the mesh adds to the CLI's start.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.parts import mesh_running, parts, running
from bench.report import Figure, percentile
from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.embedded_mesh import CLAUDE_NAME, embedded_mesh
from services.claude_exec.cli.command import BUNDLED_CLI
from shared.settings import Settings
from tests.fresh_topics import Profile

_PROMPT = "Say hi"
_WARM_UP = 2
_WAIT_SECONDS = 60.0


async def measure_claude_prompt(profile: Profile, directory: Path, prompts: int) -> list[Figure]:
    """p50 and p90 of `prompts` one-item jobs, each followed by one bare run of the CLI."""
    async with AsyncExitStack() as stack:
        endpoint = await _endpoint(stack, directory / "endpoint")
        settings = await stack.enter_async_context(parts(profile, directory, anthropic_base_url=endpoint))
        await stack.enter_async_context(mesh_running(directory, settings))
        client = await stack.enter_async_context(Client(settings.kafka_bootstrap, settings.topic_prefix))
        mesh: list[float] = []
        bare: list[float] = []
        for number in range(_WARM_UP + prompts):
            times = await _one_job(client), await _bare_cli(endpoint)
            if number >= _WARM_UP:
                mesh.append(times[0])
                bare.append(times[1])
    return [
        Figure(
            f"one prompt as a job, p{percent} (raw: bare `claude -p`)",
            profile,
            percentile(mesh, percent),
            "ms",
            percentile(bare, percent),
        )
        for percent in (50, 90)
    ]


async def _endpoint(stack: AsyncExitStack, directory: Path) -> str:
    """The loopback endpoint of `mesh up`, as a process; its address."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    mesh = embedded_mesh(Settings(data_dir=directory, anthropic_base_url=None, anthropic_api_key=None))
    spec = next(each for each in mesh.services if each.name == CLAUDE_NAME)
    await stack.enter_async_context(running(directory, spec))
    return mesh.addresses.claude_endpoint or ""


async def _one_job(client: Client) -> float:
    """Milliseconds from the send to the end in hand."""
    began = time.perf_counter()
    submitted = await client.submit(JobSubmit(workload="claude", items=[_PROMPT]))
    end = await client.wait(submitted.job_id, _WAIT_SECONDS)
    if end.status != "completed":
        raise RuntimeError(f"the prompt did not complete: {end.reason}")
    return (time.perf_counter() - began) * 1000


async def _bare_cli(endpoint: str) -> float:
    """Milliseconds of one `claude -p`, with nothing of this process' environment but the path."""
    with TemporaryDirectory(prefix="bench-claude-") as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "CLAUDE_CONFIG_DIR": home,
            "ANTHROPIC_BASE_URL": endpoint,
            "ANTHROPIC_API_KEY": "loopback-needs-no-key",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(str(BUNDLED_CLI), "-p"),
            cwd=home,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                out, err = await process.communicate(_PROMPT.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        took = (time.perf_counter() - began) * 1000
    if process.returncode != 0 or not out:
        raise RuntimeError(f"claude -p failed: {err.decode(errors='replace')[:500]}")
    return took
