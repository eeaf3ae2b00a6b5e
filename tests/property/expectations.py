"""What single scenarios expect beyond the general promises."""

from __future__ import annotations

from eldermesh.contract.vocabulary import EndStatus
from shared.facts.jobs import JobReplanned
from tests.property.breach import Breach
from tests.property.fact_writer import job_id
from tests.property.process import Process
from tests.property.promises import check_public
from tests.property.runner_life import RunnerProcess
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


def expect_no_death(world: World) -> None:
    """The owner never took a run for dead: nothing in this scenario died."""
    if any(record.fact_type == JobReplanned.fact_type for record in world.log.records):
        raise Breach("a chunk was planned again though no run of it died")


def expect_first_attempts(world: World, number: int) -> None:
    """Nothing of the job was tried again."""
    for progress in check_public(world)[job_id(number)].progress.values():
        for result in progress.results:
            if result.attempt != 1:
                raise Breach(f"item {result.item_index} of {job_id(number)} took attempt {result.attempt}")


def expect_unclaimed(runner: RunnerProcess) -> None:
    """The process was given no chunk."""
    if runner.run is not None:
        raise Breach(f"{runner.name} was given {runner.run.chunk}, whose run has not had its say")


def expect_stopped(process: Process) -> None:
    """The run has been stopped."""
    if not process.is_dead:
        raise Breach(f"{process.name} still runs")
