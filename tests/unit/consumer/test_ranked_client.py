"""The client of an inbox by rank: what it reads is held where it counts, and no broker stops it from handing out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import chain, repeat
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from shared.consumer import backlog_pace, ranked_client
from shared.consumer.backlog_pace import BACKLOG_RECORDS, BacklogPace
from shared.consumer.client import InboxClient
from shared.consumer.ranked_client import RankedInboxClient
from shared.consumer.read_ahead import BATCH_RECORDS, ReadAhead
from shared.consumer.record import LARGE_BYTES, ConsumedRecord
from shared.history.owner_parts import Rank

_JOBS = TopicPartition("jobs", 0)


def _record(offset: int, value: bytes = b"n") -> Any:
    return ConsumerRecord("jobs", 0, offset, 0, 0, None, value, None, 0, len(value), ())


def _passes_over(record: ConsumedRecord) -> bool:
    return record.value == b"x"


@pytest.fixture
async def client() -> AsyncIterator[RankedInboxClient]:
    """A client that is not connected."""
    made = RankedInboxClient(
        bootstrap_servers="127.0.0.1:9",
        group_id="tests",
        fetch_max_wait_ms=10,
        idle_wait_ms=100,
        ranking=lambda _record, order: Rank(3, order),
        prefix="",
        passes_over=_passes_over,
    )
    yield made
    await made.stop()


async def _handed_out(client: RankedInboxClient) -> list[int]:
    batches = await client._poll(timeout_ms=0, max_records=None)  # noqa: SLF001 - what FastStream's poll ends in
    return [record.offset for records in batches.values() for record in records]


async def test_a_poll_that_outlasts_a_rebalance_loses_nothing(
    client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the new assignment, whose records it gives: they are held, not thrown away with the old ones."""

    async def polled(self: RankedInboxClient, *_: Any, **__: Any) -> dict[Any, list[Any]]:
        self.forget()
        return {_JOBS: [_record(5), _record(6)]}

    monkeypatch.setattr(InboxClient, "_poll", polled)
    assert await _handed_out(client) == [5, 6]


async def test_records_of_partitions_that_were_given_up_are_not_held(
    client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two large records the event loop runs, and with it what a rebalance does."""

    async def polled(self: RankedInboxClient, *_: Any, **__: Any) -> dict[Any, list[Any]]:
        asyncio.get_running_loop().call_soon(self.forget)
        return {_JOBS: [_record(5, b"n" * (LARGE_BYTES + 1)), _record(6)]}

    monkeypatch.setattr(InboxClient, "_poll", polled)
    assert await _handed_out(client) == []


async def test_a_commit_without_an_answer_holds_up_nothing(
    client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what was passed over: the poll ends, and what comes then is handed out."""
    asked: list[Any] = []

    async def never(_: Any, offsets: Any) -> None:
        asked.append(offsets)
        await asyncio.Event().wait()

    comes = iter([[_record(0, b"x")], [_record(1)]])

    async def polled(*_: Any, **__: Any) -> dict[Any, list[Any]]:
        return {_JOBS: next(comes)}

    monkeypatch.setattr(InboxClient, "_poll", polled)
    monkeypatch.setattr(InboxClient, "commit", never)
    monkeypatch.setattr(ranked_client, "COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(ranked_client, "_PASSED_SECONDS", 0.0)
    assert await _handed_out(client) == []
    assert asked == [{_JOBS: 1}]
    assert await _handed_out(client) == [1]


async def test_what_is_passed_over_for_long_does_not_keep_what_waits(
    client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each poll is full of a long history: after some of them what was found is handed out."""
    offsets = iter(range(1_000_000))

    async def polled(*_: Any, max_records: int, **__: Any) -> dict[Any, list[Any]]:
        return {_JOBS: [_record(next(offsets), b"x") for _ in range(max_records - 1)] + [_record(next(offsets))]}

    monkeypatch.setattr(InboxClient, "_poll", polled)
    assert await _handed_out(client)


_CROWD = list(range(BACKLOG_RECORDS + 2 * BATCH_RECORDS))


def _ranked(record: ConsumedRecord, order: int) -> Rank:
    """Numbers from 800 on are another tenant's, those from 900 on more urgent."""
    return Rank(0 if record.offset >= 900 else 6, order, "crowd" if record.offset < 800 else "other")


def _paced(client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> None:
    """Give the client a pace whose rests last for minutes and are looked at all the time."""
    monkeypatch.setattr(client, "assignment", lambda: {_JOBS})
    monkeypatch.setattr(ranked_client, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(backlog_pace, "MOST_SECONDS", 300.0)
    client._backlog = BacklogPace(clock)  # noqa: SLF001 - as the router makes it
    client._ahead = ReadAhead(_ranked, "")  # noqa: SLF001 - the same


@pytest.mark.parametrize("comes", [900, 800], ids=["more urgent", "of another tenant"])
async def test_a_backlog_rests_until_another_record_comes(
    client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch, comes: int
) -> None:
    """A rest of minutes ends when a record comes that is not of the backlog; that one is in the next batch."""
    polls = iter([[_record(number) for number in _CROWD], [], [], [_record(comes)]])

    async def polled(*_: Any, **__: Any) -> dict[Any, list[Any]]:
        return {_JOBS: next(polls)}

    monkeypatch.setattr(InboxClient, "_poll", polled)
    _paced(client, monkeypatch, partial(next, chain([0.0], repeat(300.0))))
    assert await _handed_out(client) == _CROWD[:BATCH_RECORDS]
    client._ahead.finish()  # noqa: SLF001 - the batch is done
    assert comes in await _handed_out(client)
    assert next(polls, None) is None


async def test_a_wait_for_records_is_not_work(client: RankedInboxClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes after a pause does not rest for as long as that was."""
    now = 0.0
    polls = iter([[_record(number) for number in _CROWD], [_record(700)]])

    async def polled(*_: Any, **__: Any) -> dict[Any, list[Any]]:
        nonlocal now
        now += 100.0
        return {_JOBS: next(polls)}

    monkeypatch.setattr(InboxClient, "_poll", polled)
    _paced(client, monkeypatch, lambda: now)
    assert await _handed_out(client) == _CROWD[:BATCH_RECORDS]
    client._ahead.finish()  # noqa: SLF001 - the batch took no time
    assert await _handed_out(client) == _CROWD[BATCH_RECORDS : 2 * BATCH_RECORDS]
