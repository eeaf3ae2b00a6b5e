"""Plans as series, against a list of chunks: the same chunks, and none looked at that did not change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.jobs.chunk_series import Chunk
from services.router.jobs.machine import JobMachine
from services.router.jobs.plan import Plan, current_chunk, current_chunks, first_plan, shrunk, with_parts
from services.router.jobs.plan_changes import chunks_gone, series_come
from shared.facts.jobs import ChunkInterrupted, JobRouted
from shared.history.item_bitmap import all_items_in, missing_items, with_items
from tests.unit.jobs.story import T0, Story, accepted, results, succeeded

_ONE_EACH = JobRouted(n=0, engine="celery", chunk_items=1, policy="static")


@dataclass(slots=True)
class Plans:
    """A plan as series, and the same plan as the list that earlier releases kept."""

    total: int
    chunk_items: int
    plan: Plan = ()
    listed: list[Chunk] = field(default_factory=list)
    bitmap: bytes = b""
    epoch: int = 1

    def finish(self, items: Iterable[int]) -> None:
        """Results of these items."""
        self.bitmap = with_items(self.bitmap, list(items), self.total)
        self.listed = [c for c in self.listed if not all_items_in(self.bitmap, c.first, c.last)]

    def make(self) -> None:
        """The first plan."""
        self.plan = first_plan(self.total, self.chunk_items, self.epoch, self.bitmap)
        ranges = [
            (first, min(first + self.chunk_items, self.total) - 1) for first in range(0, self.total, self.chunk_items)
        ]
        parts = (shrunk(Chunk(self.epoch, first, last), self.bitmap) for first, last in ranges)
        self.listed = [part for part in parts if part is not None]

    def replace(self, place: int, *, cut: bool) -> None:
        """One chunk is replaced by its missing items, in one part or two, under the next epoch."""
        if not self.listed:
            return
        self.epoch += 1
        chunk = self.listed[place % len(self.listed)]
        missing = missing_items(self.bitmap, chunk.first, chunk.last)
        middle = len(missing) // 2 if cut else 0
        ranges = [part for part in (missing[:middle], missing[middle:]) if part]
        parts = [Chunk(self.epoch, part[0], part[-1], chunk.deaths + 1) for part in ranges]
        self.plan = with_parts(self.plan, self.bitmap, chunk, parts)
        place = self.listed.index(chunk)
        self.listed[place : place + 1] = parts


@given(st.data(), st.integers(1, 60), st.integers(1, 12))
def test_a_plan_has_the_chunks_that_a_list_of_them_has(data: st.DataObject, total: int, chunk_items: int) -> None:
    """Whatever finishes and is replaced: the same chunks in the same order, and the same changes since any time."""
    plans = Plans(total, chunk_items)
    items = st.sets(st.integers(0, total - 1), max_size=total)
    plans.finish(data.draw(st.one_of(st.just(set[int]()), items)))
    plans.make()
    earlier = replace(plans, listed=list(plans.listed))
    for _ in range(data.draw(st.integers(0, 8))):
        if data.draw(st.booleans()):
            plans.finish(data.draw(items))
        else:
            plans.replace(data.draw(st.integers(0, 60)), cut=data.draw(st.booleans()))
        assert list(current_chunks(plans.plan, plans.bitmap)) == plans.listed
        by_item = {item: chunk for chunk in plans.listed for item in range(chunk.first, chunk.last + 1)}
        assert {item: current_chunk(plans.plan, plans.bitmap, item) for item in range(total)} == {
            item: by_item.get(item) for item in range(total)
        }
        _compare(earlier, plans)
        if data.draw(st.booleans()):
            earlier = replace(plans, listed=list(plans.listed))
    _compare(plans, replace(plans, plan=(), listed=[], bitmap=b""))
    _compare(replace(plans, plan=(), listed=[]), plans)


def _compare(before: Plans, after: Plans) -> None:
    gone = chunks_gone(before.plan, before.bitmap, after.plan, after.bitmap)
    come = [chunk for series in series_come(before.plan, after.plan) for chunk in series.chunks(after.bitmap)]
    assert _named(gone) == _named(before.listed) - _named(after.listed)
    assert _named(come) == _named(after.listed) - _named(before.listed)
    assert len(come) == len(_named(come))


def _named(chunks: Iterable[Chunk]) -> set[tuple[int, int, int]]:
    return {(chunk.epoch, chunk.first, chunk.last) for chunk in chunks}


def test_a_result_costs_the_same_in_a_job_of_any_size() -> None:
    """The state that Redis gets, and the chunks that are named for one result, of 400 and of 40,000 items."""

    def measured(items: int) -> tuple[int, int, int]:
        story = Story()
        story.tell(accepted(items), _ONE_EACH)
        before = story.job
        story.tell(results(succeeded(items // 2, micros=5)))
        changes = JobMachine().chunk_changes(before, story.job)
        size = len(JobMachine().encode(story.job))
        return size, len(changes.gone), len(list(changes.come))

    small, large = measured(400), measured(40_000)
    assert small[1:] == large[1:] == (1, 0)
    assert large[0] - small[0] < 20


def test_a_prompt_job_keeps_one_range_of_costs() -> None:
    """Four thousand items with a cost each, more or less in order: counted once, in a state that does not grow."""
    story = Story()
    story.tell(accepted(4000, max_cost_micros=10**9), _ONE_EACH)
    sizes = []
    for first in range(0, 4000, 10):
        made = [succeeded(first + index, micros=2) for index in (3, 1, 2, 0, 9, 5, 4, 6, 8, 7)]
        story.tell(*(results(result) for result in made), results(*made))
        sizes.append(len(JobMachine().encode(story.job)))
    assert story.job.cost_micros == 8000
    assert story.job.cost_keys == {"1/1": ((0, 3999),)}
    assert max(sizes[:-1]) - min(sizes[:-1]) < 40, "before it has its end"


def test_series_of_which_all_has_finished_leave_the_plan() -> None:
    """Each second chunk is given back and runs again: the state is no larger in the end than in the beginning."""
    story = Story()
    story.tell(accepted(200), _ONE_EACH)
    longest = 0
    for item in range(0, 198, 2):
        given_back = str(next(chunk for chunk in JobMachine().chunks(story.job) if chunk.first == item))
        story.tell(ChunkInterrupted(chunk_id=given_back, worker_id="w"), results(succeeded(item), succeeded(item + 1)))
        longest = max(longest, len(story.job.plan))
    assert longest <= 4


@pytest.mark.parametrize("taken", [1, 3])
def test_dispatches_are_made_when_they_are_asked_for(taken: int) -> None:
    """A job of many chunks is asked for the first ones, from wherever it stands."""
    story = Story()
    story.tell(accepted(40_000), _ONE_EACH)
    done = 39_000
    story.state = replace(story.job, bitmap=with_items(b"", list(range(done)), 40_000))
    due = iter(JobMachine().due(story.job, T0))
    named = [str(getattr(next(due), "chunk", None)) for _ in range(taken)]
    assert named == [f"{story.job.job_id}/0/1/{item}-{item}" for item in range(done, done + taken)]
