"""Hold one command, and everything it starts, so that nothing outlives the process which asked for it.

A leash is the parent of its command and the child of the owner:

- it forwards SIGTERM and SIGINT to the command alone, so that the command can stop its own children in its own order;
- when the owner dies, even by SIGKILL, it kills the command and every descendant of it;
- when the command ends, it kills what the command left behind and ends in the same way, by the same status or signal;
- when it is itself killed, the kernel kills the command (parent-death signal).

It is a subreaper: a descendant that changes its session or whose parent died becomes a child of the leash, so a
process group is not what decides who dies. It runs as a bare script (`python -I -S leash.py`), which starts in a few
hundredths of a second and imports nothing of the project.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

KILL_NOW = signal.SIGUSR1
"""Sent to a leash: kill the command and all its descendants at once, then end."""

DESCENDANTS_SECONDS = 10.0
"""How long a leash goes on killing descendants before it ends without having seen the last of them die."""

FORWARDED = (signal.SIGTERM, signal.SIGINT)
OWNER_CHECK = signal.SIGHUP  # the parent-death signal comes when the *thread* that forked ends, so it is only a hint

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _note(signal_number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal's number arrives through the wake-up descriptor."""


class Leash:
    """One command under a leash; `hold` returns when the command and all its descendants are gone."""

    def __init__(self, owner: int, status_fd: int, command: list[str]) -> None:
        self._owner = owner
        self._status_fd = status_fd
        self._command = command
        self._child = 0
        self._child_status: int | None = None
        self._wakeup, write_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write_end, False)
        for number in (*FORWARDED, KILL_NOW, OWNER_CHECK, signal.SIGCHLD):
            signal.signal(number, _note)
        signal.set_wakeup_fd(write_end)

    def hold(self) -> int:
        """Run the command to its end, and return its wait status (that of SIGKILL if the owner went first)."""
        _prctl(_PR_SET_PDEATHSIG, OWNER_CHECK)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            owner_fd = os.pidfd_open(self._owner)
        except ProcessLookupError:
            return signal.SIGKILL
        if os.getppid() != self._owner:  # the owner was gone before the descriptor was opened, its pid another's
            return signal.SIGKILL
        self._start()
        self._wait(owner_fd)
        self._kill_descendants()
        return signal.SIGKILL if self._child_status is None else self._child_status

    def _start(self) -> None:
        for entry in os.scandir("/proc/self/fd"):
            number = int(entry.name)
            if number > sys.stderr.fileno():  # a lock handed to the leash is for the leash to hold
                os.set_inheritable(number, False)  # noqa: FBT003 - the standard library takes it by position
        leash = os.getpid()
        try:
            self._child = os.fork()
        except OSError as error:
            os.write(self._status_fd, f"\nno process for {self._command[0]}: {error.strerror}\n".encode())
            raise
        if self._child == 0:
            self._become_command(leash)
        os.close(self._status_fd)

    def _become_command(self, leash: int) -> NoReturn:
        """In the child: die with the leash, say its pid, restore what Python changed, execute."""
        try:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # By the one who may have to write a reason after it, so that the pid comes first.
            os.write(self._status_fd, f"{os.getpid()}\n".encode())
            if os.getppid() == leash:
                for number in (*FORWARDED, KILL_NOW, OWNER_CHECK, signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_DFL)
                os.execvp(self._command[0], self._command)
        except OSError as error:
            os.write(self._status_fd, f"{self._command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _wait(self, owner_fd: int) -> None:
        """Return when the command has ended or everything is to be killed."""
        while self._child_status is None:
            readable, _, _ = select.select([owner_fd, self._wakeup], [], [])
            if owner_fd in readable:
                return
            for number in self._signals():
                if number in FORWARDED:
                    os.kill(self._child, number)  # not yet reaped, so the pid is still its own
                elif number == KILL_NOW or (number == OWNER_CHECK and os.getppid() != self._owner):
                    return
            self._reap()

    def _signals(self) -> bytes:
        try:
            return os.read(self._wakeup, 4096)
        except BlockingIOError:
            return b""

    def _reap(self) -> bool:
        """Take the status of every child that has ended; return False when there are no children at all."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._child:
                    self._child_status = status
        except ChildProcessError:
            return False

    def _kill_descendants(self) -> None:
        """Kill child after child; the children of the dead become children of the leash, until none is left.

        Only own children are signalled: their pids cannot be used again before they are reaped here.
        """
        deadline = time.monotonic() + DESCENDANTS_SECONDS
        while self._reap():
            if time.monotonic() > deadline:
                sys.stderr.write(f"leash: descendants of {self._command[0]} would not die\n")
                return
            for pid in _children_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            select.select([self._wakeup], [], [], 0.02)
            self._signals()


def _children_of(parent: int) -> list[int]:
    """Return the pids whose parent is `parent`, those that ended and were not reaped included."""
    children: list[int] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/stat", "rb") as stat:  # noqa: PTH123 - pathlib takes longer than the start
                fields = stat.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent:
            children.append(int(entry.name))
    return children


def _end_as(status: int) -> NoReturn:
    """End this process as the command ended, so that the owner sees the same status or signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status))


def main(arguments: list[str]) -> NoReturn:
    """Run `OWNER_PID STATUS_FD -- COMMAND…`.

    To the descriptor go the command's pid, then, if it could not be executed, the reason; its end of file says that
    the command runs.
    """
    owner, status_fd, dashes, *command = arguments
    if dashes != "--" or not command:
        sys.exit("usage: leash OWNER_PID STATUS_FD -- COMMAND [ARGUMENT]…")
    _end_as(Leash(int(owner), int(status_fd), command).hold())


if __name__ == "__main__":
    main(sys.argv[1:])
