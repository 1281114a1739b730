//! [`conformance_suite!`](crate::conformance_suite) and the one list of its cases.

/// Stamps a test for every case of the suite, or for those of some aggregates only.
///
/// The expression is evaluated and awaited once for each case, and yields a fresh store: anything
/// that converts into a [`Subject`](crate::conformance::Subject). Tests are named
/// `conformance::<aggregate>::<case>`, and run on tokio with two threads.
///
/// ```no_run
/// # use integrations_testkit::conformance::Subject;
/// # async fn make_store() -> Subject { std::future::pending().await }
/// integrations_testkit::conformance_suite!(make_store());
/// # mod some {
/// # use super::make_store;
///
/// // Of a store with a few ports of its own:
/// integrations_testkit::conformance_suite!(make_store(); mappings, ledger);
/// # }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_suite {
    ($make:expr) => {
        $crate::conformance_suite!($make; all);
    };
    ($make:expr; $($aggregate:ident),+ $(,)?) => {
        #[cfg(test)]
        async fn conformance_subject() -> $crate::conformance::Subject {
            ::core::convert::Into::into($make.await)
        }

        #[cfg(test)]
        mod conformance {
            use super::conformance_subject;

            $($crate::__conformance_cases!(tests $aggregate);)+
        }
    };
}

/// The list. `tests` stamps the cases of an aggregate, `names` names them and their source.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    (@tests $aggregate:ident $($case:ident)*) => {
        mod $aggregate {
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let subject = super::conformance_subject().await;
                    $crate::conformance::$aggregate::$case(&subject).await;
                }
            )*
        }
    };
    (@names $aggregate:ident $($case:ident)*) => {
        (
            stringify!($aggregate),
            &[$(stringify!($case)),*] as &[&str],
            include_str!(concat!(stringify!($aggregate), ".rs")),
        )
    };
    (@each tests $($aggregate:ident)*) => {
        $($crate::__conformance_cases!(tests $aggregate);)*
    };
    (@each names $($aggregate:ident)*) => {
        [$($crate::__conformance_cases!(names $aggregate)),*]
    };
    ($what:ident all) => {
        $crate::__conformance_cases! { @each $what
            integrations
            health
            sync_leases
            removal
            journal
            journal_unlogged
            request_log
            operation_log
            mappings
            ledger
            ledger_operator
            cache
            keys
            sync_runs
            sync_finalise
            sync_items
            sync_deletions
            sync_decisions
            sync_claims
            sync_settlement
            sync_cursor
            sync_told_cursor
            sync_mirror
            inbox
            inbox_claims
            inbox_digests
            gate
            gate_circuit
            leases
            tokens
            retention
            workers
            wake
            concurrency
        }
    };
    ($what:ident integrations) => {
        $crate::__conformance_cases! { @$what integrations
            new_ones_are_active_and_healthy
            several_of_one_provider_owner_and_name_are_taken
            every_column_round_trips
            are_found_by_number_and_by_uid
            one_of_another_owner_is_absent
            a_removed_one_is_absent
            lists_select_by_each_field
            removed_ones_are_listed_on_request
            pages_hold_each_row_once
            changes_touch_the_fields_they_name
            an_owner_changes_what_is_theirs
            credentials_are_replaced_by_generation
            authorization_changes_for_the_present_generation
        }
    };
    ($what:ident health) => {
        $crate::__conformance_cases! { @$what health
            outages_move_the_status_at_5_20_and_50
            outages_are_judged_by_the_policy_they_bring
            a_batch_is_folded_in_its_order
            integrations_of_one_batch_are_told_apart
            a_success_heals
            a_success_resets_a_count_below_the_first_threshold
            a_success_does_not_enable_what_is_disabled
            neutral_attempts_do_not_write_the_row
            a_success_does_not_write_a_healthy_row
            the_last_error_is_the_latest_outage
            a_status_of_a_newer_version_is_kept
            an_operator_moves_the_status
            a_reset_lifts_a_disabling
        }
    };
    ($what:ident sync_leases) => {
        $crate::__conformance_cases! { @$what sync_leases
            those_due_are_claimed_the_longest_due_first
            the_claim_answers_the_row_after_it
            one_is_due_from_its_instant_on
            only_those_of_the_providers_are_due
            a_named_one_is_claimed_due_or_not
            one_that_is_off_is_not_claimed
            a_lease_that_ran_out_is_taken_over_with_a_greater_fence
            a_lease_is_renewed_by_its_fence
            a_lease_given_back_is_free_and_keeps_the_fence
            a_lease_is_given_back_once
            a_removed_one_loses_its_lease
        }
    };
    ($what:ident removal) => {
        $crate::__conformance_cases! { @$what removal
            secrets_are_wiped_at_once
            the_schedule_is_cleared_and_the_fence_moves
            plain_answers_are_wiped_too
            keys_of_unknown_outcome_keep_it_from_being_removed
            what_belongs_to_others_stays
        }
    };
    ($what:ident journal) => {
        $crate::__conformance_cases! { @$what journal
            results_follow_the_order_of_the_entries
            an_empty_batch_is_nothing
            every_column_round_trips
            a_bad_entry_fails_alone
            a_bad_entry_leaves_no_trace
            a_completion_keeps_the_answer_and_its_request
            a_call_that_did_not_happen_frees_its_key
            a_completion_with_another_token_changes_nothing
            completions_without_an_attempt_are_answered_in_order
            a_late_completion_by_the_holder_counts
            authorization_changes_once
            outages_open_the_circuit
            a_circuit_counts_across_batches
            circuit_outcomes_of_an_earlier_epoch_are_ignored
            nothing_is_counted_while_an_override_holds
            everything_an_attempt_means_is_recorded_together
        }
    };
    ($what:ident journal_unlogged) => {
        $crate::__conformance_cases! { @$what journal_unlogged
            a_success_leaves_no_row
            a_success_heals
            those_beside_it_keep_their_order
            everything_else_it_means_is_recorded
        }
    };
    ($what:ident request_log) => {
        $crate::__conformance_cases! { @$what request_log
            rows_begin_without_hits
            rows_of_another_owner_are_absent
            filters_select_by_each_field
            filters_select_by_outcome
            a_chain_is_the_first_attempt_and_its_retries
            pages_hold_each_row_once
            pages_neither_skip_nor_repeat_while_rows_are_added
            a_summary_counts_exactly
            percentiles_are_durations_that_occurred
            summaries_follow_the_order_asked_for
            hits_add_up
            owners_are_told_apart_by_type_and_form
        }
    };
    ($what:ident operation_log) => {
        $crate::__conformance_cases! { @$what operation_log
            results_follow_the_order_of_the_entries
            every_column_round_trips
            a_bad_entry_fails_alone
            an_operation_ends_once
            one_appended_as_ended_stays_so
            whatever_has_not_ended_can_end
            an_end_replaces_what_it_gives
            a_tree_lists_parents_before_children
            operations_of_another_owner_are_absent
            filters_select_by_each_field
            pages_hold_each_row_once
        }
    };
    ($what:ident mappings) => {
        $crate::__conformance_cases! { @$what mappings
            a_free_record_is_claimed
            every_column_round_trips
            the_same_claim_again_updates_what_it_gives
            another_entity_learns_who_has_the_record
            the_first_of_a_batch_wins
            a_bad_entry_fails_alone
            types_and_integrations_are_independent
            records_differ_by_every_character
            records_resolve_in_the_order_asked_for
            ten_thousand_records_resolve_at_once
            a_record_to_be_changed_resolves_as_any
            an_entity_knows_its_records_oldest_first
            a_record_moves_whatever_it_is
            a_free_record_is_moved_to
            a_record_moves_only_from_what_is_expected
            a_released_record_is_free
            pages_hold_each_row_once
        }
    };
    ($what:ident ledger) => {
        $crate::__conformance_cases! { @$what ledger
            a_free_key_is_acquired
            a_key_in_progress_is_held
            one_key_of_two_integrations_is_two_keys
            keys_differ_by_every_character
            a_reservation_past_its_time_is_unknown
            a_key_that_is_done_answers_its_result
            a_key_of_unknown_outcome_says_so
            another_request_is_a_mismatch_in_every_state
            any_fingerprint_of_the_ring_matches
            a_key_without_fingerprint_is_not_compared
            an_unknown_key_is_taken_over_to_retry
            a_live_reservation_is_renewed_by_its_token
            keys_of_another_owner_are_absent
        }
    };
    ($what:ident ledger_operator) => {
        $crate::__conformance_cases! { @$what ledger_operator
            lists_count_expired_keys_as_unknown
            pages_hold_each_key_once
            an_unknown_key_is_resolved_as_happened
            an_unknown_key_is_resolved_as_not_happened
            only_unknown_keys_are_resolved
            what_is_not_live_is_released
            a_live_key_is_released_by_force_only
        }
    };
    ($what:ident cache) => {
        $crate::__conformance_cases! { @$what cache
            every_column_round_trips
            an_entry_is_found_under_any_of_the_keys
            generations_and_integrations_are_never_crossed
            an_expired_entry_is_found
            an_entry_takes_the_place_of_another
            a_validated_entry_lives_longer
            an_integration_is_cleared_by_itself
        }
    };
    ($what:ident keys) => {
        $crate::__conformance_cases! { @$what keys
            the_first_to_register_an_id_wins
            a_second_primary_is_accepted
            promoting_leaves_one_primary
            usage_is_counted_by_key_and_column
            cells_come_with_their_place
            cells_are_walked_by_ascending_row
            a_value_is_resealed_in_its_place
            a_value_that_was_replaced_is_not_resealed
            a_key_is_retired_once_nothing_needs_it
        }
    };
    ($what:ident inbox) => {
        $crate::__conformance_cases! { @$what inbox
            a_delivery_reads_back_as_it_was_received
            payloads_of_any_form_round_trip
            headers_keep_their_order_and_repeats
            the_first_of_a_key_wins_within_a_batch_and_across
            keys_differ_by_provider_and_integration
            a_delivery_without_a_key_is_never_a_duplicate
            a_duplicate_of_a_failed_one_queues_it_again
            a_delivery_that_is_refused_fails_alone
            a_delivery_that_is_refused_fails_alone_among_many
            deliveries_are_found_within_their_scope
            deliveries_are_selected_by_every_field_of_the_filter
            deliveries_are_counted_by_sender_and_type
            deliveries_are_listed_page_by_page
        }
    };
    ($what:ident inbox_digests) => {
        $crate::__conformance_cases! { @$what inbox_digests
            the_same_bytes_under_another_key_are_a_duplicate_within_the_window
            the_same_bytes_within_a_batch_are_a_duplicate
            the_same_bytes_count_only_where_asked_and_of_one_integration
            bytes_that_are_not_kept_are_compared_with_those_that_are
            a_digest_under_any_key_of_the_ring_tells_a_duplicate
            digests_under_two_keys_within_a_batch_are_a_duplicate
        }
    };
    ($what:ident inbox_claims) => {
        $crate::__conformance_cases! { @$what inbox_claims
            a_claim_takes_due_deliveries_oldest_first_and_counts_the_attempt
            a_delivery_is_claimed_again_once_its_lease_ran_out
            a_claim_takes_only_the_providers_asked_for
            switched_off_and_removed_integrations_are_passed_over
            duplicates_are_never_claimed
            deliveries_with_an_ordering_key_are_handled_one_after_the_other
            the_order_of_a_key_is_that_of_receipt
            one_that_comes_back_waits_for_what_is_handled_of_its_key
            claims_get_to_every_key_and_to_what_has_none
            a_parked_delivery_waits_until_its_integration_is_active
            a_claim_is_shared_between_integrations
            recovery_ends_leases_that_ran_out_and_no_others
            settling_ends_the_attempt
            a_late_settlement_changes_nothing
            settlements_are_answered_in_the_order_given
            renewing_moves_leases_and_names_those_that_are_lost
            a_replay_queues_anything_but_duplicates_and_live_leases
        }
    };
    ($what:ident gate) => {
        $crate::__conformance_cases! { @$what gate
            a_call_without_budgets_passes
            a_gate_nobody_used_is_closed_and_unspent
            a_budget_admits_exactly_its_limit_per_window
            a_sliding_budget_counts_the_window_before
            nothing_is_taken_unless_every_budget_agrees
            permits_are_blocks_of_a_sixteenth_and_single_below_32
            the_background_lane_leaves_the_reserve
            what_was_not_used_goes_back_to_its_window_only
            a_return_for_an_integration_that_is_gone_is_passed_over
            a_pause_holds_for_everybody_and_never_shrinks
            a_rate_override_stands_in_for_the_budgets
            clearing_the_rate_override_restores_the_budgets
            a_gate_is_reached_within_its_scope
            a_removed_integration_admits_nothing
            the_answer_tells_how_the_integration_stands
        }
    };
    ($what:ident gate_circuit) => {
        $crate::__conformance_cases! { @$what gate_circuit
            an_open_circuit_rejects_until_its_cooldown_is_over
            one_call_is_the_probe
            a_probe_decides_about_the_circuit
            a_probe_that_was_given_back_makes_the_next_call_the_probe
            a_refused_call_holds_no_probe
            a_probe_that_never_reports_is_replaced
            an_outcome_from_before_a_transition_changes_nothing
            a_policy_that_is_off_neither_counts_nor_rejects
            a_forced_open_circuit_rejects_until_the_override_runs_out
            a_forced_closed_circuit_lets_every_call_pass
            clearing_the_circuit_override_closes_the_circuit
        }
    };
    ($what:ident leases) => {
        $crate::__conformance_cases! { @$what leases
            a_free_lease_is_won
            a_held_lease_names_its_holder_even_to_the_holder
            a_lease_that_ran_out_is_free
            names_are_leased_independently
            fences_grow_past_released_leases
            renewing_moves_the_end
            only_a_lease_that_is_held_is_renewed
            only_the_present_fence_releases
        }
    };
    ($what:ident tokens) => {
        $crate::__conformance_cases! { @$what tokens
            a_token_is_used_once_and_reads_back_as_issued
            a_token_is_found_under_any_of_the_digests
            a_token_that_ran_out_is_not_there
            a_token_of_one_kind_never_passes_for_another
            a_digest_is_issued_once
        }
    };
    ($what:ident retention) => {
        $crate::__conformance_cases! { @$what retention
            rows_older_than_the_age_go
            a_first_attempt_that_goes_leaves_its_retries_as_they_were
            a_dry_run_counts_and_deletes_nothing
            a_batch_looks_at_no_more_rows_than_its_limit
            a_batch_goes_on_behind_its_beginning
            a_walk_stops_at_the_first_row_that_is_young
            a_row_that_has_to_stay_does_not_stop_the_walk
            only_resolved_items_go
            an_item_that_went_is_still_known_to_be_done
            only_ended_runs_without_items_go
            operations_of_unresolved_items_stay
            operations_of_running_runs_stay
            bodies_of_requests_go_and_the_rows_stay
            payloads_of_resolved_items_go_and_the_rows_stay
            only_processed_webhooks_go_and_duplicates_with_them
            a_key_whose_first_delivery_went_is_new_again
            cached_answers_go_once_they_may_not_be_served
            tokens_go_once_they_ran_out
            every_prunable_can_be_pruned_empty
            purging_deletes_removed_integrations_in_bounded_batches
            a_token_of_a_removed_integration_is_purged_with_it
        }
    };
    ($what:ident wake) => {
        $crate::__conformance_cases! { @$what wake
            a_ring_before_the_wait_is_heard
            a_ring_during_the_wait_is_heard
            every_listener_hears_a_ring
            a_wait_given_up_takes_no_ring_with_it
        }
    };
    ($what:ident workers) => {
        $crate::__conformance_cases! { @$what workers
            a_beat_enters_a_worker_as_it_is
            a_beat_moves_the_heartbeat
            those_not_heard_of_since_are_not_alive
            leaving_strikes_off_the_worker_and_those_long_gone
        }
    };
    ($what:ident concurrency) => {
        $crate::__conformance_cases! { @$what concurrency
        }
    };
    ($what:ident $of_syncs:ident) => {
        $crate::__conformance_sync_cases! { $what $of_syncs }
    };
}
