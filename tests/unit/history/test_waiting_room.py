"""The waiting room: priorities first, tenants by turns, and no step that looks at all that waits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shared.history.chunk_id import ChunkId
from shared.history.fair_queue import FairQueue, WaitingSubject
from shared.history.machine import DispatchDue
from shared.history.owner_parts import Rank
from shared.history.waiting_chunks import WaitingChunks
from shared.history.waiting_room import WaitingRoom

_LANE = "celery"


def put(room: WaitingRoom, subject: str, rank: Rank, waiting: Sequence[DispatchDue]) -> None:
    """Put chunks of one lane into a room."""
    room.put(subject, rank, waiting[0].lane if waiting else _LANE, WaitingChunks(waiting))


def chunks(subject: str, count: int = 1, lane: str = _LANE) -> list[DispatchDue]:
    """Chunks of one item."""
    return [DispatchDue(ChunkId(subject, 0, 0, number, number), 1, lane) for number in range(count)]


def taken(room: WaitingRoom, most: int | None = None, lane: str = _LANE) -> list[str]:
    """The subjects of the chunks that come next."""
    subjects: list[str] = []
    while most is None or len(subjects) < most:
        due = room.take(lane)
        if due is None:
            break
        subjects.append(due.chunk.job_id)
    return subjects


class CountedOrder(int):
    """An order of acceptance that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        CountedOrder.compared += 1
        return int(self) < int(other)

    def __eq__(self, other: object) -> bool:
        CountedOrder.compared += 1
        return isinstance(other, int) and int(self) == int(other)

    __hash__ = int.__hash__


_JOBS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=30)
"""Priority, tenant and chunks of jobs in the order of acceptance."""


@given(_JOBS)
def test_everything_comes_once_and_in_order(jobs: Sequence[tuple[int, str, int]]) -> None:
    """Priorities decide first; a tenant's jobs of one priority come in the order of acceptance, each as a whole."""
    room = WaitingRoom()
    for number, (priority, tenant, count) in enumerate(jobs):
        put(room, str(number), Rank(priority, number, tenant), chunks(str(number), count))
    order = taken(room)
    assert Counter(order) == {str(number): count for number, (_, _, count) in enumerate(jobs)}
    assert [jobs[int(subject)][0] for subject in order] == sorted(jobs[int(subject)][0] for subject in order)
    by_tenant: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for subject in order:
        by_tenant[jobs[int(subject)][:2]].append(int(subject))
    assert all(numbers == sorted(numbers) for numbers in by_tenant.values())
    assert not room.lanes()


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 8.0]), min_size=2),
    st.integers(1, 200),
)
def test_shares_are_fair_at_every_moment(weights: dict[str, float], served: int) -> None:
    """While all wait, no tenant is ahead of or behind its share by more than a turn of each."""
    room = WaitingRoom()
    for number, (tenant, weight) in enumerate(weights.items()):
        put(room, tenant, Rank(0, number, tenant, weight), chunks(tenant, served))
    got = Counter(taken(room, served))
    of_each = {tenant: got[tenant] / weight for tenant, weight in weights.items()}
    assert max(of_each.values()) - min(of_each.values()) <= 1 / min(weights.values()) + 1e-6


@given(st.integers(0, 500), st.integers(1, 50))
def test_who_comes_new_is_served_next(before: int, waiting: int) -> None:
    """However much of another tenant waits, and was served before; and it does not get what it did not ask for."""
    room = WaitingRoom()
    put(room, "crowd", Rank(3, 0, "crowd"), chunks("crowd", before + waiting + 10))
    taken(room, before)
    put(room, "new", Rank(3, 1, "new"), chunks("new", 3))
    next_ones = taken(room, 6)
    assert "new" in next_ones[:2]
    assert Counter(next_ones) == {"new": 3, "crowd": 3}


def test_ever_new_tenants_do_not_pass_over_one_that_waits() -> None:
    """Though as many come as are served."""
    room = WaitingRoom()
    put(room, "crowd", Rank(3, 0, "crowd"), chunks("crowd", 100))
    got: Counter[bool] = Counter()
    for number in range(100):
        for each in range(3):
            subject = f"new {number}.{each}"
            put(room, subject, Rank(3, 1 + number, subject), chunks(subject))
        got.update(subject == "crowd" for subject in taken(room, 3))
    assert got[True] >= 5


def test_who_comes_again_and_again_takes_turns() -> None:
    """A tenant that has one job at a time is not ahead of one that has many."""
    room = WaitingRoom()
    put(room, "crowd", Rank(3, 0, "crowd"), chunks("crowd", 100))
    got: Counter[str] = Counter()
    for number in range(50):
        put(room, f"single {number}", Rank(3, 1 + number, "single"), chunks(f"single {number}"))
        got.update("single" if subject.startswith("single") else subject for subject in taken(room, 2))
    assert abs(got["single"] - got["crowd"]) <= 2


def test_a_priority_above_comes_at_once() -> None:
    """Before a tenant that waits for its turn below."""
    room = WaitingRoom()
    put(room, "batch", Rank(6, 0, "other"), chunks("batch", 2))
    put(room, "normal", Rank(3, 1, "crowd"), chunks("normal", 2))
    assert taken(room, 1) == ["normal"]
    assert room.priority(_LANE) == 3
    put(room, "person", Rank(0, 2, "crowd"), chunks("person"))
    assert room.priority(_LANE) == 0
    assert taken(room) == ["person", "normal", "batch", "batch"]
    assert room.priority(_LANE) is None


def test_refused_ones_come_last_until_they_are_taken() -> None:
    """Also after they are put in again, and whatever their priority."""
    room = WaitingRoom()
    put(room, "strange", Rank(0, 0), chunks("strange", 3))
    put(room, "known", Rank(6, 1), chunks("known"))
    assert taken(room, 1) == ["strange"]
    room.move("strange", is_last=True)
    put(room, "strange", Rank(0, 0), chunks("strange", 3))
    assert taken(room, 2) == ["known", "strange"]
    room.move("strange", is_last=False)
    put(room, "known", Rank(6, 1), chunks("known"))
    assert taken(room, 1) == ["strange"]
    room.move("unknown", is_last=True)


def test_another_lane_and_another_rank() -> None:
    """What waits is what was put in last."""
    room = WaitingRoom()
    put(room, "job", Rank(3, 0, "a"), chunks("job", 2))
    put(room, "job", Rank(3, 0, "a"), chunks("job", 2, "ray"))
    assert taken(room) == []
    assert taken(room, lane="ray") == ["job", "job"]
    put(room, "job", Rank(3, 0, "a"), chunks("job", 2))
    put(room, "job", Rank(3, 0, "a"), [])
    assert "job" not in room
    assert taken(room) == []


def test_what_is_given_back_comes_first() -> None:
    """Unless its subject has left meanwhile."""
    room = WaitingRoom()
    first, second = chunks("job", 2)
    put(room, "job", Rank(3, 0), [first, second])
    assert room.take(_LANE) == first
    room.give_back(first)
    assert [room.take(_LANE), room.take(_LANE), room.take(_LANE)] == [first, second, None]
    room.leave("job")
    room.give_back(first)
    assert room.take(_LANE) is None


def test_a_step_does_not_look_at_all_that_waits() -> None:
    """Comparisons for a hundred chunks, of a hundred or of ten thousand that wait: they grow like a logarithm."""

    def compared(waiting: int) -> int:
        room = WaitingRoom()
        for number in range(waiting):
            put(room, str(number), Rank(3, CountedOrder(number), "crowd"), chunks(str(number)))
        CountedOrder.compared = 0
        assert len(taken(room, 100)) == 100
        put(room, "10000", Rank(3, CountedOrder(10000), "crowd"), chunks("10000"))
        return CountedOrder.compared

    few, many = compared(200), compared(20_000)
    assert many <= 4 * few
    assert many < 100 * 2 * 2 * 20


def test_what_is_put_in_anew_is_filed_once() -> None:
    """A sweep puts in all that waits each second: that costs no comparison, and queues do not grow by it."""

    def compared(sweeps: int) -> int:
        room = WaitingRoom()
        CountedOrder.compared = 0
        for _ in range(sweeps):
            for number in range(50):
                put(room, str(number), Rank(3, CountedOrder(number), "crowd"), chunks(str(number)))
        ranked = CountedOrder.compared - 50 * (sweeps - 1)  # that its rank is as before is seen by one
        assert len(taken(room)) == 50
        return CountedOrder.compared - 50 * (sweeps - 1) if ranked else 0

    assert compared(100) == compared(1) > 0


def test_tenants_without_anything_are_forgotten() -> None:
    """Many tenants of one job each leave nothing behind."""
    queue: FairQueue[DispatchDue] = FairQueue()
    assert queue.take() is None
    for number in range(1000):
        due = WaitingChunks(chunks(str(number)))
        queue.add(WaitingSubject(Rank(3, number, f"tenant {number}"), _LANE, due))
        if number % 10 == 9:
            assert all(queue.take() is not None for _ in range(9))
            assert len(queue) <= 2 * (number // 10 + 1) + 10
    while queue.take() is not None:
        pass
    assert len(queue) == 0


def test_subjects_that_left_are_dropped_behind_one_that_stays() -> None:
    """Its engine is closed for long, while jobs come and are cancelled: they cost no memory, and the others come on."""
    queue: FairQueue[DispatchDue] = FairQueue()
    kept = []
    for number in range(20_000):
        subject = WaitingSubject(Rank(0, number), _LANE, WaitingChunks(chunks(f"job {number}")))
        queue.add(subject)
        if number % 1000:
            subject.chunks = WaitingChunks()
        else:
            kept.append(f"job {number}")
    (line,) = queue._lines.values()  # noqa: SLF001 - nobody else asks for it
    assert len(line) < 1200
    due = [queue.take() for _ in range(len(kept) + 1)]
    assert [None if each is None else each.chunk.job_id for each in due] == [*kept, None]


def test_a_subject_that_was_dropped_can_wait_again() -> None:
    """A chunk of it was taken, and is given back."""
    queue: FairQueue[DispatchDue] = FairQueue()
    first = WaitingSubject(Rank(0, 0), _LANE, WaitingChunks(chunks("first")))
    queue.add(first)
    due = first.chunks.take()
    assert due is not None
    for number in range(1, 1002):
        queue.add(WaitingSubject(Rank(0, number), _LANE, WaitingChunks(chunks(f"job {number}"))))
    assert not first.is_filed
    first.chunks.give_back(due)
    queue.add(first)
    assert queue.take() == due


def test_tenants_that_left_are_forgotten_while_others_are_served() -> None:
    """Each comes with one job and takes it back: nothing of this priority is ever served meanwhile."""
    room = WaitingRoom()
    put(room, "stays", Rank(6, 0, "stays"), chunks("stays"))
    for number in range(20_000):
        put(room, f"job {number}", Rank(6, 1 + number, f"tenant {number}"), chunks(f"job {number}"))
        room.leave(f"job {number}")
    (level,) = room._levels[_LANE].values()  # noqa: SLF001 - nobody else asks for it
    assert len(level) < 2500
    assert taken(room) == ["stays"]
