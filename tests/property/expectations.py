"""What single scenarios expect beyond the general promises."""

from __future__ import annotations

from eldermesh.contract.vocabulary import EndStatus
from tests.property.breach import Breach
from tests.property.fact_writer import job_id
from tests.property.process import Process
from tests.property.promises import check_public
from tests.property.world import World


def expect_end(world: World, number: int, status: EndStatus) -> None:
    """The job has ended like this."""
    end = check_public(world)[job_id(number)].end
    if end is None or end.status != status:
        raise Breach(f"{job_id(number)} is {end and end.status} ({end and end.error_type}), not {status}")


def expect_each_item_once(world: World) -> None:
    """No item had its effect twice: nothing in this scenario excuses that."""
    twice = {item for item, times in world.witness.executions.items() if times > 1}
    if twice:
        raise Breach(f"items ran more than once, though nothing died: {twice}")


def expect_stopped(process: Process) -> None:
    """The run has been stopped."""
    if not process.is_dead:
        raise Breach(f"{process.name} still runs")
