//! The cases of runs, items and cursors: the part of the list that is about syncs.

/// See [`__conformance_cases`](crate::__conformance_cases).
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_sync_cases {
    ($what:ident sync_runs) => {
        $crate::__conformance_cases! { @$what sync_runs
            opening_a_run_stores_it_with_its_operation
            a_run_keeps_how_it_was_opened
            a_fence_that_is_not_the_present_one_opens_nothing
            an_unfinished_run_is_resumed_under_the_new_fence
            an_ended_run_is_followed_by_a_new_one
            streams_have_runs_of_their_own
            a_page_stores_items_token_and_counts_together
            the_last_page_ends_enumeration
            a_last_page_with_nothing_open_says_finalise
            a_page_under_a_lost_fence_stores_nothing
            a_page_of_an_ended_run_stores_nothing
            a_removed_integration_takes_neither_runs_nor_pages
            finalisable_runs_are_those_at_zero_oldest_first
            runs_are_found_within_their_scope
            runs_are_listed_page_by_page_from_either_end
            finalising_an_unknown_run_finds_none
        }
    };
    ($what:ident sync_finalise) => {
        $crate::__conformance_cases! { @$what sync_finalise
            a_run_with_open_items_is_not_ready
            a_run_that_enumerates_is_not_ready
            a_run_ends_once
            a_clean_run_is_a_success_and_schedules_the_next
            a_lease_given_back_after_the_end_leaves_the_next_sync_put_off
            an_empty_run_is_a_success
            a_run_in_which_some_failed_is_partial
            a_run_in_which_all_failed_is_failed
            skipped_items_spare_a_run_from_failing
            a_run_whose_enumeration_failed_with_nothing_is_failed
            a_run_whose_enumeration_failed_after_a_success_is_partial
            failures_in_a_row_put_the_next_sync_off_up_to_sixteen_intervals
            the_schedule_of_the_call_decides_the_next_sync
            an_integration_without_an_interval_is_not_scheduled
            the_end_of_the_last_run_releases_the_sync_lease
            a_stream_that_ends_leaves_the_sync_to_the_others
            the_last_of_clean_streams_ends_a_clean_sync
            a_record_that_fails_run_after_run_is_reported_stuck_once
            several_failed_versions_in_a_run_count_once_for_their_record
            a_success_begins_the_streak_anew
            a_retry_after_the_end_leaves_the_run_ended
            a_run_whose_failures_were_resolved_is_mended
            a_mended_run_of_an_earlier_sync_makes_no_later_one_clean
            overdue_syncs_are_reported_when_that_begins_and_ends
            only_scheduled_active_integrations_are_overdue
        }
    };
    ($what:ident sync_items) => {
        $crate::__conformance_cases! { @$what sync_items
            an_item_reads_back_as_it_was_enumerated
            payloads_and_names_of_any_form_round_trip
            checkpoints_of_every_kind_round_trip
            the_same_version_twice_in_a_run_is_dropped_and_counted
            records_differ_by_stream_and_kind
            items_without_an_external_id_are_never_duplicates
            a_version_that_succeeded_before_is_dropped_and_counted
            without_a_checkpoint_the_digest_is_the_version
            a_digest_under_another_key_is_the_same_version
            content_that_comes_back_is_a_new_version
            content_that_comes_back_behind_a_failure_is_a_new_version
            a_version_that_was_let_go_is_not_stored_again
            a_full_resync_takes_older_versions_but_not_the_same
            an_unresolved_version_of_an_earlier_run_is_queued_again
            a_version_under_a_lease_moves_to_the_run_and_stays_with_its_worker
            an_entry_that_does_not_fit_fails_alone
            items_are_found_within_their_scope
            items_are_listed_by_every_field_of_the_filter
            items_are_listed_page_by_page
            waiting_kinds_count_what_waits
        }
    };
    ($what:ident sync_deletions) => {
        $crate::__conformance_cases! { @$what sync_deletions
            a_full_run_tells_of_the_records_it_did_not_see
            a_run_is_complete_only_after_its_deletions
            records_are_looked_at_part_by_part
            a_run_that_is_not_full_tells_of_no_deletion
            a_sweep_under_a_lost_fence_or_after_the_end_stores_nothing
            a_run_that_missed_an_item_tells_of_no_deletion
            a_deletion_is_told_once
            a_deletion_that_failed_is_queued_again_by_the_next_full_run
            a_record_that_comes_back_is_news_and_may_be_deleted_again
            a_record_that_comes_back_lets_go_of_its_deletion
            a_deletion_lets_go_of_older_versions
            a_record_that_is_worked_on_is_left_to_the_next_full_run
        }
    };
    ($what:ident sync_decisions) => {
        $crate::__conformance_cases! { @$what sync_decisions
            an_operator_retries_failed_items_only
            an_operator_skips_failed_and_waiting_items
            skipping_the_last_open_item_says_finalise
            decisions_are_answered_in_order_and_within_scope
        }
    };
    ($what:ident sync_claims) => {
        $crate::__conformance_cases! { @$what sync_claims
            a_claim_takes_due_items_and_counts_the_attempt
            a_claim_takes_no_more_than_its_limit_oldest_first
            an_item_is_claimed_again_once_its_lease_ran_out
            a_claim_takes_only_the_kinds_asked_for
            a_claim_may_name_an_integration
            integrations_that_take_no_syncs_are_passed_over
            removing_an_integration_stops_claims_at_once
            a_claim_shares_its_limit_among_integrations
            integrations_whose_items_all_wait_do_not_hold_up_others
            an_older_version_added_meanwhile_is_not_handed_out_too
            two_versions_of_a_record_are_handed_out_older_first
            a_failed_older_version_does_not_block_a_newer_one
            an_older_version_waits_while_a_newer_one_is_under_a_lease
            two_digests_of_a_record_are_not_handled_at_once
            records_of_different_streams_do_not_wait_for_each_other
            renewing_moves_the_end_of_the_lease
            renewing_names_the_items_that_are_lost
            reclaiming_ends_leases_that_ran_out_and_no_others
        }
    };
    ($what:ident sync_settlement) => {
        $crate::__conformance_cases! { @$what sync_settlement
            a_success_resolves_the_item
            a_failure_and_a_skip_resolve_the_item_with_their_reason
            a_retry_waits_and_counts_the_attempt
            putting_an_item_back_gives_the_attempt_back
            the_last_open_item_says_finalise_once_enumeration_ended
            a_late_settlement_changes_nothing
            a_lease_that_ran_out_settles_nothing
            an_item_is_settled_once
            settlements_are_answered_in_the_order_given
            a_late_settlement_beside_the_present_one_is_told_apart
            a_success_settles_older_failed_versions_as_skipped
            a_success_settles_older_waiting_versions_as_skipped
            a_success_leaves_other_records_alone
            the_last_succeeded_version_only_moves_forwards
            the_last_succeeded_digest_is_the_latest
        }
    };
    ($what:ident sync_cursor) => {
        $crate::__conformance_cases! { @$what sync_cursor
            the_cursor_moves_to_the_greatest_resolved_checkpoint
            the_cursor_stops_below_what_failed
            the_cursor_stays_strictly_below_what_failed
            nothing_resolved_below_a_failure_moves_nothing
            the_cursor_never_passes_what_failed_in_an_earlier_run
            a_success_after_the_end_moves_the_cursor
            a_run_finalised_again_passes_no_gap_of_a_later_one
            a_run_finalised_again_passes_no_gap_of_one_that_was_cut_off
            the_cursor_goes_on_over_what_an_earlier_run_did
            a_cursor_that_was_put_back_is_not_led_forwards_by_an_old_run
            a_skip_after_the_end_moves_the_cursor
            a_newer_success_lets_the_cursor_pass_older_failures
            streams_have_cursors_of_their_own
            a_failed_enumeration_moves_no_cursor
            the_cursor_never_moves_backwards
            cursors_of_instants_compare_as_instants
            checkpoints_of_text_compare_by_their_bytes
            a_sorted_run_advances_the_cursor_while_it_enumerates
            an_unsorted_run_or_a_lost_fence_advances_nothing
            a_sorted_run_does_not_move_the_cursor_backwards
            a_run_that_is_out_of_order_is_sorted_no_longer
            a_run_that_was_out_of_order_moves_the_cursor_at_its_end
            a_page_that_is_told_again_is_still_in_order
            a_run_with_an_item_that_was_refused_is_sorted_no_longer
            the_cursor_never_passes_an_item_that_was_refused
            a_refusal_stays_with_a_run_that_is_taken_over
            a_late_settlement_lets_no_cursor_pass
            an_operator_sets_the_cursor_of_one_stream
        }
    };
    ($what:ident sync_told_cursor) => {
        $crate::__conformance_cases! { @$what sync_told_cursor
            a_cursor_that_was_told_is_taken_when_nothing_is_unresolved
            the_last_cursor_that_was_told_in_a_run_counts
            a_cursor_of_a_run_that_was_followed_is_not_taken
            a_cursor_that_was_told_waits_for_everything
            a_cursor_told_beside_an_item_that_was_refused_is_not_taken
            a_cursor_told_before_enumeration_failed_is_not_taken
            a_cursor_that_was_told_never_moves_backwards
            a_cursor_an_operator_put_is_kept_from_what_was_told_before
        }
    };
    ($what:ident sync_mirror) => {
        $crate::__conformance_cases! { @$what sync_mirror
            random_steps_leave_the_rows_that_memory_has
        }
    };
}
