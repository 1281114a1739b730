//! Every scenario on both databases.

use crate::{
    accounts, cache, calls, chaos, deliveries, logs, once, operator, pruning, receiving, schema,
    secrets, syncs, world::Kind,
};

macro_rules! on_both {
    ($($scenario:path as $name:ident),+ $(,)?) => {
        mod sqlite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $scenario(Kind::Sqlite).await;
                }
            )+
        }

        mod postgres {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $scenario(Kind::Postgres).await;
                }
            )+
        }
    };
}

on_both! {
    schema::migrating as migrating_twice_is_a_no_op_and_a_dry_run_changes_nothing,
    schema::six_at_once as six_migrate_at_once,
    schema::missing as other_commands_do_not_make_a_schema,
    schema::newer as a_newer_schema_is_refused,
    accounts::life as an_account_from_install_to_remove,
    accounts::missing_fields as missing_fields_are_all_named_before_anything_is_opened,
    accounts::failed_probe as a_failed_probe_stores_nothing,
    accounts::same_name as the_same_name_again_wants_force,
    accounts::unknown_provider as rows_of_unknown_providers_can_be_looked_at_and_removed,
    accounts::receives_only as an_account_that_only_receives_is_neither_called_nor_tried,
    accounts::not_found as what_is_not_there_exits_3,
    accounts::control_characters as control_characters_are_escaped,
    calls::answers as an_answer_is_printed_whatever_its_status,
    calls::health as outages_count_and_a_success_resets_them,
    calls::disabled as health_disables_and_enable_resets,
    calls::bodies as bodies_are_recorded_as_text_markers_and_cuts,
    calls::filters as requests_are_filtered_and_shown,
    calls::follow as follow_goes_on_with_new_calls,
    cache::hit as a_cached_answer_is_given_again_and_counted,
    cache::revalidated as what_did_not_change_is_not_sent_again,
    cache::stale as a_stale_answer_stands_in_for_a_failure,
    cache::once as a_keyed_call_is_made_once,
    cache::circuit as an_open_circuit_refuses_calls,
    operator::circuit as a_circuit_is_held_open_and_closed_and_let_go,
    operator::rate_limit as a_budget_is_set_and_cleared,
    operator::idempotency as keys_are_listed_shown_resolved_and_released,
    logs::tree as operations_are_listed_and_shown_as_a_tree,
    logs::follow as follow_goes_on_with_new_operations,
    receiving::answers as every_answer_of_a_webhooks_route,
    receiving::kept as bodies_are_kept_exactly_and_secrets_nowhere,
    receiving::switched_off as an_account_that_is_off_is_gone_for_those_who_can_sign,
    receiving::too_large as a_body_too_large_is_refused_while_it_is_read,
    receiving::handshakes as handshakes_are_answered_and_not_stored,
    receiving::at_once as one_delivery_from_many_connections_is_one,
    receiving::killed as what_got_a_2xx_survives_kills,
    receiving::processed as a_handler_gets_what_came_and_gets_it_again,
    receiving::slow as who_is_slow_is_cut_off,
    receiving::operators as operators_see_counts_and_replay,
    deliveries::bulk_replay as many_are_replayed_by_a_filter_at_a_measured_pace,
    deliveries::to_a_server as a_server_tells_replays_apart_and_may_ask_for_a_pause,
    deliveries::paused as a_paused_account_parks_what_it_is_sent,
    deliveries::public_url as the_route_of_an_account_is_shown,
    pruning::prunes as what_is_past_its_age_is_pruned,
    pruning::removal_is_finished as removed_integrations_are_purged,
    pruning::ages_come_from_the_configuration as ages_come_from_the_configuration,
    syncs::a_file as a_sync_delivers_to_a_file_and_then_only_what_changed,
    syncs::standard_output as a_sync_delivers_to_standard_output,
    syncs::workers as workers_deliver_what_was_enumerated_and_drain_when_stopped,
    syncs::listening as a_worker_that_listens_tells_how_it_is,
    syncs::poison as a_poison_item_holds_the_cursor_until_it_is_retried,
    syncs::skipping as a_skipped_item_lets_the_cursor_go,
    syncs::no_overlap as one_integration_is_never_synced_twice_at_once,
    chaos::nothing_is_lost as nothing_is_lost_whoever_is_killed,
    once::many as two_hundred_processes_with_one_key_make_one_call,
    once::killed as a_call_whose_process_was_killed_is_unknown_and_refused,
    once::circuit as a_circuit_opened_by_one_process_stops_another,
    once::retried as attempts_are_rows_that_point_at_the_first,
    secrets::nowhere as the_token_is_found_nowhere,
    secrets::wrong_key as another_key_exits_5,
    secrets::sources as credentials_come_from_file_variable_and_input,
    secrets::keys_in_use as keys_list_counts_what_each_sealed,
    secrets::application as application_credentials_are_looked_up_when_needed,
}
