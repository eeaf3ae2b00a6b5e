"""`mesh topics apply`: create the topics of a mesh, or say why those that exist cannot serve it."""

from __future__ import annotations

import typer

from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output, columns_table

app = typer.Typer(name="topics", no_args_is_help=True, help="Create and check the topics of a mesh.")


@app.command(
    epilog=example("mesh topics apply", "MESH_TOPIC_PREFIX=staging. MESH_PARTITIONS=24 mesh topics apply --json")
)
def apply(*, as_json: JsonOption = False) -> ExitStatus:
    """Create what is missing. Never changes a topic: one that would break a promise is refused, with the reason.

    If one is refused, none is created, and the exit status is 1.
    """
    from eldermesh_cli.answers.jobs import RefusedTopic, TopicsAnswer
    from shared.kafka.topic_admin import apply_topics

    mesh = find_mesh()
    output = Output(as_json)
    applied = run_on_mesh(mesh, lambda: apply_topics(mesh.settings))
    if as_json:
        refused = [RefusedTopic(name=topic.name, reason=topic.reason) for topic in applied.refused]
        output.answer(TopicsAnswer(created=list(applied.created), unchanged=list(applied.unchanged), refused=refused))
    else:
        rows = [
            *((name, "created", None) for name in applied.created),
            *((name, "unchanged", None) for name in applied.unchanged),
            *((topic.name, "refused", topic.reason) for topic in applied.refused),
        ]
        output.show(columns_table(("TOPIC", "", "WHY"), rows))
    return ExitStatus.NOT_COMPLETED if applied.refused else ExitStatus.OK
