"""What ends a runner that nobody asks for anything."""

from __future__ import annotations

import threading

from services.router.engines.ray.idle_watch import IdleWatch
from tests.waiting import wait_until


class Cluster:
    """Takes the wish to leave, or is gone."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.ended = threading.Event()

    def leave(self) -> None:
        """Ask."""
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)


async def test_a_process_that_is_idle_asks_to_leave_until_it_does() -> None:
    """It may be refused, since there was work in between."""
    cluster = Cluster()
    IdleWatch(0.02, leave=cluster.leave, end=cluster.ended.set).start()
    await wait_until(lambda: cluster.asked > 2, description="it asks again")
    assert not cluster.ended.is_set()


async def test_a_process_that_cannot_ask_to_leave_ends_itself() -> None:
    """Whatever the cluster raises: a watch that died of it would leave the process for ever."""
    for failure in (ConnectionError("the cluster is gone"), SystemExit(1), MemoryError()):
        cluster = Cluster(failure)
        IdleWatch(0.02, leave=cluster.leave, end=cluster.ended.set).start()
        await wait_until(cluster.ended.is_set, description="it ends")
        assert cluster.asked == 1


async def test_a_process_at_work_is_not_idle() -> None:
    """A watch that fails while work begins ends the process only when that is done."""
    cluster, began, may_end = Cluster(), threading.Event(), threading.Event()

    def work() -> None:
        with watch.busy():
            began.set()
            may_end.wait(30.0)

    worker = threading.Thread(target=work)

    def leave() -> None:
        cluster.leave()
        if not began.is_set():
            worker.start()
            began.wait(30.0)
        raise ConnectionError

    watch = IdleWatch(0.02, leave=leave, end=cluster.ended.set)
    watch.start()
    await wait_until(began.is_set, description="work begins while it asks to leave")
    assert not watch.is_idle()
    assert not cluster.ended.is_set()
    may_end.set()
    await wait_until(cluster.ended.is_set, description="it ends")
    worker.join(10.0)
    assert watch.is_idle()
