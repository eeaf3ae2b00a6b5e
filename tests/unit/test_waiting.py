import asyncio
import itertools

import pytest

from tests.waiting import wait_until


async def test_returns_the_first_truthy_value_of_a_plain_predicate() -> None:
    """A predicate that counts up is asked until it is truthy, and not once more."""
    counter = itertools.count()

    value = await wait_until(lambda: next(counter), description="a count above zero", interval_seconds=0)

    assert value == 1
    assert next(counter) == 2


async def test_returns_the_first_truthy_value_of_an_async_predicate() -> None:
    """The value of the awaited predicate is returned, not the coroutine, which is always truthy."""
    answers = iter([None, "", "ready"])

    async def answer() -> str | None:
        return next(answers)

    assert await wait_until(answer, description="a ready answer", interval_seconds=0) == "ready"


async def test_names_what_it_waited_for_and_the_last_value() -> None:
    """When the time is over the error says what was waited for and what was seen last."""
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: the job has ended \(last value: \[\]\)"):
        await wait_until(list, description="the job has ended", timeout_seconds=0.05, interval_seconds=0.01)


async def test_cancels_an_async_predicate_that_hangs() -> None:
    """A predicate that never answers cannot hold a test: it is cancelled at the limit."""
    cancelled = asyncio.Event()

    async def hang() -> bool:
        try:
            return await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(AssertionError, match="still busy"):
        await wait_until(hang, description="an answer", timeout_seconds=0.05)
    assert cancelled.is_set()


async def test_does_not_hide_what_the_predicate_raises() -> None:
    """An error in the predicate ends the wait at once; its TimeoutError is not taken for the limit."""

    def fail() -> bool:
        raise TimeoutError("from the predicate")

    with pytest.raises(TimeoutError, match="from the predicate"):
        await wait_until(fail, description="anything")


async def test_asks_once_even_without_time() -> None:
    """With no time at all a predicate that holds already is still seen."""
    assert await wait_until(lambda: True, description="what is true already", timeout_seconds=0.0)
