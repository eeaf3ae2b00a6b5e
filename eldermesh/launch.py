"""Start a process of the mesh so that its own modules come first: `python -m eldermesh.launch services.router`.

A user's project may have packages called `shared` or `services`, or modules named like a library that the mesh needs,
and may be named by `PYTHONPATH` so that `python` jobs find it. Only the processes that call users' functions look there
first (`users_environment`); all others look there last. This file imports nothing of the project.
"""

from __future__ import annotations

import os
import runpy
import sys
import sysconfig

_PYTHONPATH = "PYTHONPATH"
_USERS_PYTHONPATH = "ELDERMESH_USERS_PYTHONPATH"
"""Where `PYTHONPATH` is kept for the users' functions while processes of the mesh start each other."""

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib takes longer


def own_modules_first() -> None:
    """Move what `PYTHONPATH` and the working directory add to `sys.path` behind everything else, here and below.

    Processes that this one starts do not get `PYTHONPATH`; those that run users' code get it back.
    """
    paths = sysconfig.get_paths()
    # Not all of them: the root of an environment may be the user's project.
    own = {_ROOT, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
    given = _entries(os.environ.pop(_PYTHONPATH, ""))
    if _ROOT in given:  # an install that is found by nothing else
        os.environ[_PYTHONPATH] = _ROOT
    handed_on = _entries(os.environ.get(_USERS_PYTHONPATH, ""))
    users = [entry for entry in dict.fromkeys((*given, *handed_on)) if entry not in own]
    if users:
        os.environ[_USERS_PYTHONPATH] = os.pathsep.join(users)
    last = list(users)
    if not sys.flags.safe_path and sys.path and _absolute(sys.path[0]) not in own:
        last.append(sys.path[0])  # the working directory, or that of a script
    sys.path[:] = [entry for entry in sys.path if entry not in last and _absolute(entry) not in last] + last


def users_environment() -> dict[str, str]:
    """This process' environment with the `PYTHONPATH` that the user gave, for a process that runs users' code."""
    environment = dict(os.environ)
    users = environment.pop(_USERS_PYTHONPATH, None)
    if users is not None:
        environment[_PYTHONPATH] = os.pathsep.join(filter(None, (users, environment.get(_PYTHONPATH))))
    return environment


def python_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of the mesh with this interpreter, its output not held back."""
    return (sys.executable, "-P", "-u", __file__, module, *arguments)


def main() -> None:
    """Run the module that the first argument names, with the others, as `python -m` does."""
    if len(sys.argv) < 2:  # noqa: PLR2004 - the program and a module
        sys.exit("usage: python -m eldermesh.launch MODULE [ARGUMENT...]")
    own_modules_first()
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _entries(path: str) -> list[str]:
    return [_absolute(entry) for entry in path.split(os.pathsep)] if path else []


def _absolute(entry: str) -> str:
    return os.path.abspath(entry)  # noqa: PTH100 - pathlib takes longer


if __name__ == "__main__":
    main()
