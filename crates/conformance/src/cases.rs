//! The cases. Each takes a rig without peers.

mod clients;
mod links;
mod packets;
mod reliability;
mod servers;
mod sessions;

pub use clients::*;
pub use links::*;
pub use packets::*;
pub use reliability::*;
pub use servers::*;
pub use sessions::*;

/// Calls a macro, whose path stands in brackets, with what is given, a comma, and the names of all
/// cases.
#[macro_export]
macro_rules! for_each_case {
    ([$($callback:tt)+], $given:expr) => {
        $($callback)+! { $given,
            hosting_is_reported_once
            a_server_serves_again_after_it_stopped
            stopping_what_does_not_serve_is_harmless
            a_server_that_stops_is_lost_to_its_clients
            a_server_that_stopped_receives_nothing
            an_address_that_is_taken_is_refused
            what_two_servers_receive_is_kept_apart
            a_hundred_starts_and_stops_leave_it_working
            a_connection_is_reported_once
            connecting_is_no_call_that_answers_at_once
            nothing_is_sent_before_the_connection_is_there
            nothing_is_sent_after_the_connection_has_ended
            who_connects_to_no_server_is_told
            disconnecting_what_is_not_connected_is_harmless
            who_disconnects_hears_nothing_more
            the_server_learns_once_that_a_client_has_left
            who_disconnects_while_connecting_is_never_connected
            a_client_can_come_back
            a_client_that_connects_anew_ends_what_it_had
            a_connection_that_is_cut_is_reported_once_at_both_ends
            a_client_that_left_sends_nothing_more
            a_hundred_clients_come_and_go
            a_client_reaches_the_server_it_named
            reliable_packets_reach_the_server_whole_in_order_and_once
            reliable_packets_reach_the_client_whole_in_order_and_once
            packets_of_every_byte_arrive_unchanged
            the_largest_packets_reach_the_server
            the_largest_packets_reach_the_client
            most_unreliable_packets_reach_the_server_and_none_twice
            most_voice_reaches_the_client_and_none_twice
            most_data_reaches_the_client_and_none_twice
            unreliable_packets_between_do_not_disturb_the_order
            a_burst_of_voice_does_not_break_what_is_reliable
            a_packet_says_which_connection_it_came_by
            a_packet_reaches_only_whom_it_is_for
            what_is_sent_does_not_come_back_to_the_sender
            a_connection_that_is_gone_is_refused
            clients_do_not_hear_each_other_without_the_server
            an_answer_while_polling_waits_for_the_next_frame
            a_host_is_its_own_client
            what_others_send_never_reaches_the_hosts_own_client
            a_packet_to_the_own_client_waits_for_the_next_frame
            a_host_that_stops_serving_loses_its_own_client
            a_loss_on_the_reliable_path_ends_the_connection_and_says_so
            reliable_packets_without_end_arrive_without_a_gap
            reliable_packets_of_many_arrive_in_the_order_of_each
            a_link_is_reported_at_both_ends_and_has_one_number
            what_goes_by_links_is_taken_from_the_list_and_arrives_once
            what_no_link_reaches_stays_on_the_list
            reliable_packets_on_a_link_arrive_in_order
            a_packet_on_a_link_names_the_link
            a_link_that_is_released_ends_at_both_ends
            a_newer_link_has_a_higher_number
            links_end_with_the_client
            a_reliable_packet_reaches_each_once_by_its_link_or_through_the_server
            an_unreliable_packet_reaches_none_twice_by_its_link_or_through_the_server
            a_client_enters_a_session_and_leaves_it
            a_text_reaches_whom_it_is_for
            voice_is_relayed_to_who_listens
            voice_takes_a_link_where_there_is_one_and_the_server_elsewhere
            a_new_session_begins_when_the_server_does
            a_host_is_server_and_client
            a_host_speaks_and_hears
            a_text_reaches_a_host_and_comes_from_it
            a_host_is_given_nothing_as_if_it_were_a_client
            a_host_starts_again_after_it_stopped
        }
    };
}
