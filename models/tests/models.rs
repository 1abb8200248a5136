//! Each model holds, and finds the faults that are planted for it.

use fapi_gateway_models::{finds, holds, issuer, lines, replay, revocations};

#[test]
fn replay_log_first_use() {
    holds(replay::model::one_of_several_uses_is_the_first);
    finds(replay::check_and_record_apart::model::one_of_several_uses_is_the_first);
    holds(replay::model::a_proof_has_one_first_use);
    finds(replay::forgotten_read_before_the_lock::model::a_proof_has_one_first_use);
}

#[test]
fn replay_log_share_and_room() {
    holds(replay::model::a_share_and_the_room_are_used_up_exactly);
    finds(replay::check_and_record_apart::model::a_share_and_the_room_are_used_up_exactly);
    finds(replay::room_counted_in_two_steps::model::a_share_and_the_room_are_used_up_exactly);
}

#[test]
fn replay_log_forgets() {
    holds(replay::model::what_is_forgotten_makes_room);
    finds(replay::room_made_by_others_not_seen::model::what_is_forgotten_makes_room);
}

#[test]
fn replay_log_clock_set_back() {
    holds(replay::model::a_log_restarts_once);
    finds(replay::restarted_before_its_beginning_is_known::model::a_log_restarts_once);
    finds(replay::restarted_by_all_who_notice::model::a_log_restarts_once);
}

#[test]
fn revocation_and_check() {
    holds(revocations::model::a_check_misses_no_revocation);
    finds(revocations::cleared_after_the_table_is_released::model::a_check_misses_no_revocation);
}

#[test]
fn revocation_and_introspection() {
    holds(issuer::model::a_revoked_token_is_not_accepted_afterwards);
    finds(issuer::generation_read_after_the_answer::model::a_revoked_token_is_not_accepted_afterwards);
}

#[test]
fn single_flight() {
    holds(issuer::model::one_call_serves_all);
    finds(issuer::caches_read_before_the_lock::model::one_call_serves_all);
    finds(issuer::flight_ended_before_its_result_is_cached::model::one_call_serves_all);
}

#[test]
fn places() {
    holds(issuer::model::places_are_bounded_and_given_back);
    finds(issuer::place_checked_and_taken_apart::model::places_are_bounded_and_given_back);
    finds(issuer::place_freed_after_the_outcome::model::places_are_bounded_and_given_back);
}

#[test]
fn lines_are_written_or_counted() {
    holds(lines::model::what_is_not_written_is_counted);
    finds(lines::ended_in_a_second_step::model::what_is_not_written_is_counted);
    holds(lines::model::no_more_waits_than_allowed);
    finds(lines::room_checked_before_the_lock::model::no_more_waits_than_allowed);
}

#[test]
fn lines_need_no_further_line() {
    holds(lines::model::a_line_is_written_by_itself);
    finds(lines::sleep_noted_in_a_second_step::model::a_line_is_written_by_itself);
}

#[test]
fn lines_on_a_switch() {
    holds(lines::model::a_switch_divides_the_lines);
    finds(lines::place_of_the_switch_read_before_the_lock::model::a_switch_divides_the_lines);
}

#[test]
fn reload_and_exchanges() {
    holds(replay::reload::a_proof_passes_once_through_a_reload);
    finds(replay::reload::resized_before_the_swap);
    finds(replay::reload::time_read_after_the_generation);
}
