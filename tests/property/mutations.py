"""The mutations that tests must catch: each a change of shipped code, and a directed run that breaks under it.

Names are those of the rules' last section, and of decisions that added to the rules.
`docs/explanation/history-proof.md` is made from these.
"""

from __future__ import annotations

from tests.property import (
    mutate_advice,
    mutate_claims,
    mutate_deaths,
    mutate_fold,
    mutate_owner,
    mutate_suspended,
    mutate_trouble,
    mutate_waits,
    scenarios_advice,
    scenarios_deaths,
    scenarios_facts,
    scenarios_gate,
    scenarios_owner,
    scenarios_runner,
    scenarios_suspended,
    scenarios_trouble,
    scenarios_waits,
)
from tests.property.mutation import Mutation

_owner, _runner, _facts, _waits = scenarios_owner, scenarios_runner, scenarios_facts, scenarios_waits
_gate = scenarios_gate

MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "`applied` as “last folded”",
        mutate_owner.applied_is_last_folded,
        _owner.plain_job,
        "not every accepted job ends",
    ),
    Mutation(
        "catch-up that publishes nothing",
        mutate_owner.silent_catch_up,
        _owner.killed_before_publishing_results,
        "has sequences",
    ),
    Mutation(
        "publish after the advance",
        mutate_owner.publish_after_advance,
        _owner.killed_after_the_advance,
        "has sequences",
    ),
    Mutation(
        "advance without comparing",
        mutate_owner.advance_unguarded,
        _owner.stale_owner_advances,
        "not every accepted job ends",
    ),
    Mutation(
        "advance that stops on failure",
        mutate_owner.stop_when_overtaken,
        _owner.wiped_once,
        "stopped for good",
    ),
    Mutation(
        "advance that keeps memory",
        mutate_owner.keep_memory,
        _owner.wiped_under_an_owner,
        "not every accepted job ends",
    ),
    Mutation("no load token (two flushes)", mutate_owner.no_load_token, _owner.two_flushes, "under a live lease"),
    Mutation(
        "`job.ended` together with the end",
        mutate_owner.mark_with_the_end,
        _owner.killed_between_end_and_mark,
        "has no end",
    ),
    Mutation(
        "end published before the advance",
        mutate_owner.end_before_advance,
        _owner.killed_after_two_calls_of_the_last_batch,
        "has sequences",
    ),
    Mutation(
        "end rebuilt with later facts",
        mutate_fold.end_rebuilt,
        _owner.late_cost_after_an_unmarked_end,
        "differ",
    ),
    Mutation("clamp in memory", mutate_fold.clamp_in_memory, _facts.broker_clock_goes_back, "differ"),
    Mutation(
        "clamp by partition", mutate_fold.clamp_by_partition, _facts.neighbour_with_a_fast_clock_is_forgotten, "differ"
    ),
    Mutation("no clamp", mutate_fold.no_clamp, _facts.broker_clock_goes_back, "was active for"),
    Mutation(
        "epoch of the whole job as fence",
        mutate_fold.epoch_of_the_job,
        _runner.results_of_an_older_epoch,
        "not every accepted job ends",
    ),
    Mutation("claim freed at finish", mutate_claims.freed_at_finish, _runner.task_delivered_twice, "more than once"),
    Mutation(
        "claim freed by TTL", mutate_claims.freed_by_time, _runner.item_kills_its_runners, "not every accepted job ends"
    ),
    Mutation(
        "“known” in place of the gate",
        mutate_claims.known_is_enough,
        _runner.older_file_under_a_live_run,
        "under a live lease",
    ),
    Mutation(
        "claim refused to the run that has it",
        mutate_claims.any_claim_refuses,
        _runner.answer_to_a_claim_is_lost,
        "though no run of it died",
    ),
    Mutation(
        "no lease's wait after a wipe",
        mutate_owner.gate_opens_at_once,
        _runner.wiped_under_a_live_run,
        "under a live lease",
    ),
    Mutation("missing claim kills", mutate_claims.missing_claim_kills, _runner.wiped_under_a_live_run, "healthy run"),
    Mutation("blind heartbeat", mutate_claims.blind_heartbeat, _runner.cancelled_while_running, "still runs"),
    Mutation(
        "no renewal before an item",
        mutate_claims.no_renewal_before_item,
        _runner.frozen_past_its_lease,
        "without asking",
    ),
    Mutation(
        "unclaimed counts as dead", mutate_owner.unclaimed_is_dead, _owner.engine_delivers_nothing, "not completed"
    ),
    Mutation(
        "plan with items already in",
        mutate_fold.plan_keeps_items,
        _owner.bisected_while_results_arrive,
        "not every accepted job ends",
    ),
    Mutation("decision without n", mutate_fold.decision_without_n, _facts.late_hold_after_an_approval, "not completed"),
    Mutation(
        "late `refused` counts",
        mutate_fold.late_refusal_counts,
        _facts.late_refusal_after_the_route,
        "was rejected and has results",
    ),
    Mutation("timer without arming", mutate_fold.timer_without_arming, _facts.superseded_deadline, "too early"),
    Mutation(
        "timer before its time", mutate_fold.timer_before_its_time, _facts.timer_fires_early_by_the_log, "too early"
    ),
    Mutation(
        "end offset read before `applied`",
        mutate_owner.bounds_before_load,
        _owner.two_owners_load,
        "emptied a snapshot",
    ),
    Mutation(
        "going on with `applied` outside the log",
        mutate_owner.outside_the_log,
        _owner.log_lost_its_tail,
        "not every accepted job ends",
    ),
    Mutation("ended job by TTL", mutate_owner.forget_by_time, _owner.repeated_long_after_its_end, "again after"),
    Mutation("stub by TTL", mutate_owner.forget_by_time, _owner.cancelled_long_before_its_submit, "not cancelled"),
    Mutation(
        "mixed facts published whole",
        mutate_fold.published_whole,
        _facts.fact_with_old_and_new_results,
        "appears twice",
    ),
    Mutation("cost without key", mutate_fold.cost_without_key, _facts.fact_written_twice, "its facts say"),
    Mutation(
        "conflicts skipped for ended jobs",
        mutate_fold.conflicts_of_live_jobs_only,
        _facts.other_content_after_the_end,
        "conflicts",
    ),
    Mutation(
        "advance that removes claims of chunks not in a plan during catch-up",
        mutate_owner.advance_removes_strange_claims,
        _owner.slow_catch_up_with_a_live_run,
        "under a live lease",
    ),
    Mutation(
        "interruption counts as a death",
        mutate_waits.interruption_is_a_death,
        _waits.interrupted_again_and_again,
        "not so many of its own runs died",
    ),
    Mutation(
        "interruption of any epoch",
        mutate_waits.interruption_of_any_epoch,
        _waits.interruption_lands_late,
        "healthy run",
    ),
    Mutation(
        "interruption before the run has stopped",
        mutate_waits.told_before_it_has_stopped,
        _waits.interrupted_between_two_items,
        "given back",
    ),
    Mutation(
        "pause without its chunk",
        mutate_waits.pause_keeps_its_chunk,
        _waits.quota_is_used_up,
        "took attempt 2",
    ),
    Mutation(
        "decision without coordinates",
        mutate_waits.decisions_without_coordinates,
        _waits.decided_twice_by_one_command,
        "decisions 1 counted",
    ),
    Mutation(
        "submitter decides",
        mutate_waits.anybody_decides,
        _waits.decided_by_its_submitter,
        "not rejected",
    ),
    Mutation(
        "hold not told during catch-up",
        mutate_waits.silent_holds_in_catch_up,
        _waits.killed_before_telling_of_a_hold,
        "no beginning",
    ),
    Mutation(
        "late advice counts",
        mutate_advice.late_advice_counts,
        scenarios_advice.advised_a_moment_too_late,
        "not completed",
    ),
    Mutation(
        "decision before its advice",
        mutate_advice.nobody_waits,
        scenarios_advice.advised_in_time,
        "not rejected",
    ),
    Mutation(
        "advice outlives its job",
        mutate_advice.annex_outlives_its_job,
        scenarios_advice.harmless_and_advised,
        "Redis' specs",
    ),
    Mutation(
        "the gate opened after half a lease",
        mutate_owner.gate_opens_after_half_a_lease,
        _gate.frozen_across_a_wipe,
        "under a live lease",
    ),
    Mutation(
        "caught up one fact before the end",
        mutate_owner.caught_up_one_fact_early,
        _gate.wiped_behind_a_route,
        "under a live lease",
    ),
    Mutation(
        "the gate opened for any process of Redis",
        mutate_owner.gate_opened_for_any_process,
        _gate.older_file_with_the_same_guard,
        "under a live lease",
    ),
    Mutation(
        "guard without the process of Redis",
        mutate_owner.guard_without_the_process,
        _gate.older_file_and_new_facts,
        "under a live lease",
    ),
    Mutation(
        "advance without comparing `applied`",
        mutate_owner.guard_without_applied,
        _gate.demoted_and_promoted_under_new_facts,
        "was given items",
    ),
    Mutation(
        "claims looked at without `applied` and token",
        mutate_owner.look_without_applied_and_token,
        _gate.demoted_and_promoted,
        "not every accepted job ends",
    ),
    Mutation(
        "the load token used again by the same owner",
        mutate_owner.token_used_again,
        _gate.gate_opened_by_a_late_call,
        "under a live lease",
    ),
    Mutation(
        "the gate opened without removing stray claims",
        mutate_owner.strays_stay,
        _gate.stray_claim_after_a_wipe,
        "claims holds",
    ),
    Mutation(
        "a snapshot emptied without comparing",
        mutate_owner.emptied_without_comparing,
        _gate.two_owners_find_a_snapshot_that_does_not_fit,
        "emptied a snapshot",
    ),
    Mutation(
        "a run renews its dead claim",
        mutate_claims.dead_claim_renewed,
        _runner.dead_before_its_heartbeat_is_sent,
        "under a live lease",
    ),
    Mutation(
        "a claim hands out all items in place of the missing",
        mutate_claims.all_items_handed_out,
        _runner.claimed_with_items_in,
        "was given items",
    ),
    Mutation(
        "the claim done before the results are flushed",
        mutate_claims.done_before_flushed,
        _runner.killed_after_its_finish,
        "no result is in the log",
    ),
    Mutation(
        "the lease checked after an item",
        mutate_claims.lease_looked_at_after_an_item,
        _runner.frozen_between_claim_and_item,
        "without asking",
    ),
    Mutation(
        "a lease counted from its answer",
        mutate_claims.lease_from_the_answer,
        _runner.answer_comes_late,
        "still runs",
    ),
    Mutation(
        "the end's time taken from a later fact",
        mutate_fold.end_told_at_a_later_time,
        _facts.late_cost_an_hour_after_an_unmarked_end,
        "differ",
    ),
    Mutation(
        "the mark's time taken from a later fact",
        mutate_fold.mark_with_a_later_time,
        _facts.late_cost_an_hour_after_an_unmarked_end,
        "the mark of",
    ),
    Mutation(
        "failures of repeated results counted",
        mutate_fold.repeated_failures_count,
        _facts.failure_beside_a_result,
        "of them failed",
    ),
    Mutation(
        "deaths of the chunk stay with an item",
        mutate_deaths.deaths_of_the_chunk_stay,
        scenarios_deaths.left_alone_by_an_interruption,
        "not completed",
    ),
    Mutation(
        "crash without its chunk",
        mutate_deaths.crash_counts_always,
        scenarios_deaths.interruption_before_the_word_of_a_crash,
        "not completed",
    ),
    Mutation(
        "overdue timer before its fold",
        mutate_trouble.overdue_before_its_fold,
        scenarios_trouble.overdue_at_load,
        "without waiting",
    ),
    Mutation(
        "engine stops its partition",
        mutate_trouble.engine_stops_its_partition,
        scenarios_trouble.engine_is_down_for_one_chunk,
        "not cancelled",
    ),
    Mutation(
        "any failure drops memory",
        mutate_trouble.any_failure_drops_memory,
        scenarios_trouble.publish_fails_once,
        "loads again",
    ),
    Mutation(
        "claimed chunks without a lane",
        mutate_trouble.claimed_without_a_lane,
        scenarios_trouble.loads_with_a_full_window,
        "than the window holds",
    ),
    Mutation(
        "a done claim counts as dead",
        mutate_claims.done_is_dead,
        _runner.looked_at_when_done,
        "but it died 0 times",
    ),
    Mutation(
        "a dead claim stands as held",
        mutate_claims.dead_is_not_written,
        _runner.dead_before_its_heartbeat_is_sent,
        "under a live lease",
    ),
    Mutation(
        "one run for all executions",
        mutate_claims.one_run_for_all,
        _runner.task_delivered_twice_to_one_worker,
        "under a live lease",
    ),
    Mutation(
        "a lease counted from the answer to its claim",
        mutate_claims.claim_from_the_answer,
        _runner.answer_to_a_claim_comes_late,
        "still runs",
    ),
    Mutation(
        "live jobs forgotten",
        mutate_owner.live_jobs_forgotten,
        _runner.retention_takes_facts_of_a_live_job,
        "not every accepted job ends",
    ),
    Mutation(
        "a claim that is gone is done",
        mutate_claims.done_whatever_it_is,
        _runner.done_after_the_fold,
        "claims holds",
    ),
    Mutation(
        "chunks of no plan are claimed",
        mutate_claims.any_chunk_is_claimed,
        _runner.redelivered_after_a_new_plan,
        "under a live lease",
    ),
    Mutation(
        "chunks of no plan are renewed",
        mutate_claims.renewed_whatever_is_current,
        _runner.replaced_before_its_heartbeat_is_sent,
        "under a live lease",
    ),
    Mutation(
        "an unknown job is ended for its runs",
        mutate_claims.unknown_is_ended,
        _gate.wiped_before_a_heartbeat,
        "healthy run",
    ),
    Mutation(
        "the gate of an earlier process taken for open",
        mutate_owner.ready_for_any_process,
        _gate.restarted_with_all_it_held,
        "not every accepted job ends",
    ),
    Mutation(
        "no conflicts of ended jobs in catch-up",
        mutate_owner.no_conflicts_in_catch_up,
        _gate.conflict_before_a_wipe,
        "conflicts",
    ),
    Mutation(
        "what is applied folded once more",
        mutate_owner.folds_from_the_start,
        _owner.reads_fact_by_fact_after_a_load,
        "is not what the log says",
    ),
    Mutation(
        "submit outlives its end",
        mutate_trouble.mark_before_a_repeat,
        scenarios_trouble.repeat_outlives_the_end,
        "more than once",
    ),
    Mutation(
        "a suspended run leaves silently",
        mutate_suspended.suspended_leaves_silently,
        scenarios_suspended.suspended_with_its_owner,
        "though no run of it died",
    ),
    Mutation(
        "claims judged right after waking up",
        mutate_suspended.claims_judged_at_once,
        scenarios_suspended.suspended_with_its_owner,
        "though no run of it died",
    ),
    Mutation(
        "the gate opened right after waking up",
        mutate_suspended.gate_opened_at_once,
        scenarios_suspended.suspended_while_the_gate_is_closed,
        "has not had its say",
    ),
    Mutation(
        "a suspended run speaks without asking",
        mutate_suspended.suspended_speaks_without_asking,
        scenarios_suspended.suspended_across_a_wipe,
        "healthy run",
    ),
)
