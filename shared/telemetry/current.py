"""What stands behind the process' global providers now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")


class Current(Generic[P]):
    """The provider that is used now. `before_use` is called ahead of each use: in a forked child it replaces it."""

    def __init__(self, provider: P) -> None:
        self._provider = provider
        self._followers: list[Callable[[P], object]] = []
        self.before_use: Callable[[], None] | None = None

    def get(self) -> P:
        """The provider to use."""
        if self.before_use is not None:
            self.before_use()
        return self._provider

    def replace(self, provider: P) -> None:
        """Use another provider from now on."""
        self.before_use = None
        self._provider = provider
        for follow in self._followers:
            follow(provider)

    def follow(self, follower: Callable[[P], object]) -> None:
        """Call `follower` with the provider, now and whenever it is replaced."""
        follower(self.get())
        self._followers.append(follower)


class Made(Generic[P, T]):
    """Something that each provider makes of its own: made again when the provider was replaced."""

    def __init__(self, current: Current[P], make: Callable[[P], T]) -> None:
        self._current = current
        self._make = make
        self._made: tuple[P, T] | None = None

    def get(self) -> T:
        """What the provider that is used now has made."""
        provider, made = self._current.get(), self._made
        if made is None or made[0] is not provider:
            made = self._made = (provider, self._make(provider))
        return made[1]
