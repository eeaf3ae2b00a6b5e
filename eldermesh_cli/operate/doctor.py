"""`mesh doctor`: look at every part of a mesh, and say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import Check

_SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}

app = typer.Typer()


@app.command(epilog=example("mesh doctor", "mesh doctor --json | jq '.checks[] | select(.status != \"ok\")'"))
def doctor(*, as_json: JsonOption = False) -> ExitStatus:
    """Check settings, disk, broker, topics, Redis, every service, jobs, Ray, clocks and telemetry; say what to do.

    Exits with 1 if a check fails; a warning fails nothing.
    """
    from eldermesh_cli.answers.jobs import DoctorAnswer

    mesh = find_mesh()
    output = Output(as_json)
    checks = run_on_mesh(mesh, lambda: _look(mesh))
    answer = DoctorAnswer(ok=all(check.status != "fail" for check in checks), checks=checks)
    if as_json:
        output.answer(answer)
    else:
        for check in checks:
            output.write(f"{_SIGNS[check.status]} {check.name}: {check.detail}\n")
            if check.hint is not None:
                output.write(f"    → {check.hint}\n")
    return ExitStatus.OK if answer.ok else ExitStatus.NOT_COMPLETED


async def _look(mesh: Mesh) -> list[Check]:
    from eldermesh_cli.operate.checks import host, servers, services
    from eldermesh_cli.operate.checks.check import run_checks

    return await run_checks(
        [
            ("settings", lambda: host.settings_found(mesh)),
            ("data directory", lambda: host.data_dir_writable(mesh)),
            ("disk", lambda: host.disk_free(mesh)),
            ("services", lambda: host.services_stay(mesh)),
            ("broker", lambda: servers.broker_answers(mesh)),
            ("topics", lambda: servers.topics_as_promised(mesh)),
            ("redis", lambda: servers.redis_answers(mesh)),
            ("clock", lambda: servers.clocks_agree(mesh)),
            ("router", lambda: services.partitions_owned(mesh)),
            ("jobs", lambda: services.jobs_go_on(mesh)),
            ("workers", lambda: services.workers_answer(mesh)),
            ("claude_exec", lambda: services.prompts_run(mesh)),
            ("sages", lambda: services.sages_listen(mesh)),
            ("notifier", lambda: services.people_are_told(mesh)),
            ("ray", lambda: services.ray_answers(mesh)),
            ("telemetry", lambda: servers.telemetry_received(mesh)),
            ("metrics", lambda: servers.metrics_received(mesh)),
        ]
    )
