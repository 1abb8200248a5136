//! Each model holds, and finds the faults that are planted for it.

use fapi_gateway_models::{finds, holds, replay};

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
    finds(replay::restart_without_comparing::model::a_log_restarts_once);
}
