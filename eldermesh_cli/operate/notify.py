"""`mesh notify test [CHANNEL]`: send a test message on the channels of the rules file."""

from __future__ import annotations

from typing import Annotated

import typer

from eldermesh_cli.program.errors import CliError, ExitStatus, not_found
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import load_settings
from eldermesh_cli.terminal.output import Output, columns_table

app = typer.Typer(name="notify", no_args_is_help=True, help="Try the channels on which people are told.")


@app.command("test", epilog=example("MESH_NOTIFY_RULES=notify.yaml mesh notify test", "mesh notify test ops --json"))
def send_test(
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="Its name in the rules file; all by default.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Send a test message on the channels of MESH_NOTIFY_RULES, from here and at once.

    If one does not take it, the exit status is 1.
    """
    import asyncio

    try:
        from services.notifier.rules.file import load_rules
        from services.notifier.trial_message import try_channels
    except ModuleNotFoundError as error:
        raise CliError(
            ExitStatus.UNAVAILABLE, "not_installed", f"{error.name} is not installed", "pip install 'eldermesh[run]'"
        ) from error
    from eldermesh_cli.answers.jobs import ChannelAnswer, NotifyTestAnswer
    from shared.errors import ConfigurationError

    settings, output = load_settings(), Output(as_json)
    try:
        channels = load_rules(settings.notify_rules).channels
    except ConfigurationError as error:
        raise CliError(
            ExitStatus.USAGE, "configuration", str(error), "docs/how-to/notifications.md describes the file"
        ) from error
    if channel is not None and channel not in channels:
        known = ", ".join(channels) or "none; MESH_NOTIFY_RULES names the file"
        raise not_found(f"no channel {channel} is configured", f"there are: {known}")
    chosen = channels if channel is None else {channel: channels[channel]}
    tried = asyncio.run(try_channels(chosen, settings))
    if as_json:
        rows = [ChannelAnswer(name=each.name, ok=each.trouble is None, error_message=each.trouble) for each in tried]
        output.answer(NotifyTestAnswer(channels=rows))
    elif tried:
        table = [(each.name, "ok" if each.trouble is None else "failed", each.trouble) for each in tried]
        output.show(columns_table(("CHANNEL", "", "WHY"), table))
    else:
        output.note("no channel is configured, and nobody is told anything; MESH_NOTIFY_RULES names the file of both")
    return ExitStatus.NOT_COMPLETED if any(each.trouble is not None for each in tried) else ExitStatus.OK
