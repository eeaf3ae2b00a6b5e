"""`mesh logs`: what the services of a mesh have written, also after it has stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from eldermesh_cli.answers.stack import LogLine
from eldermesh_cli.operate.mesh.place import START_HINT, DataDirOption, data_dir_of
from eldermesh_cli.program.errors import ExitStatus, not_found
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.terminal.output import Output

_POLL_SECONDS = 0.1
_BLOCK_BYTES = 64 * 1024

app = typer.Typer()


@app.command(
    epilog=example("mesh logs", "mesh logs router -n 200", "mesh logs -f", "mesh logs router -n 1000 | jq .event")
)
def logs(
    name: Annotated[str | None, typer.Argument(help="A service; default: all of them.")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written; Ctrl-C ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each log to begin with.")] = 20,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Show the end of the services' logs. Of several, each line begins with the service's name."""
    output = Output(as_json)
    paths = _log_paths(data_dir_of(data_dir) / "logs", name)
    width = max(len(path.stem) for path in paths) if name is None else 0

    def show(path: Path, texts: Sequence[bytes]) -> None:
        for text in texts:
            line = text.decode("utf-8", "replace")
            if as_json:
                output.answer(LogLine(name=path.stem, line=line))
            else:
                output.write(f"{path.stem:{width}} | {line}\n" if width else f"{line}\n")

    followed = [_Followed(path) for path in paths]
    for each in followed:
        show(each.path, each.last_lines(lines))
    while follow:
        for each in followed:
            show(each.path, list(each.new_lines()))
        time.sleep(_POLL_SECONDS)
    return ExitStatus.OK


def _log_paths(directory: Path, name: str | None) -> list[Path]:
    found = {path.stem: path for path in sorted(directory.glob("*.log"))}
    if name is None and found:
        return list(found.values())
    if name is not None and name in found:
        return [found[name]]
    if found:
        message, hint = f"no log of {name} is there", f"there are those of {', '.join(found)}"
    else:
        message, hint = f"no logs are in {directory}", START_HINT
    raise not_found(message, hint)


class _Followed:
    """A log, and how far it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = path.stat().st_size

    def last_lines(self, count: int) -> list[bytes]:
        """The last whole lines before the position."""
        if count == 0:
            return []
        with self.path.open("rb") as log:
            start, content = self._position, b""
            while start > 0 and content.count(b"\n") <= count:
                block = min(_BLOCK_BYTES, start)
                start -= block
                log.seek(start)
                content = log.read(block) + content
        end = content.rfind(b"\n") + 1
        self._position -= len(content) - end  # a line that is not whole yet belongs to what comes
        return content[:end].splitlines()[-count:]

    def new_lines(self) -> Iterator[bytes]:
        """The whole lines since the last call; a log that was cut is read from its beginning."""
        with self.path.open("rb") as log:
            log.seek(0, 2)
            if log.tell() < self._position:
                self._position = 0
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                yield line[:-1]
