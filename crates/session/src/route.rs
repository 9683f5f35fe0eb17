//! Which way speech goes to one peer: one pure function (PROTOCOL.md, section 8).

use std::time::Duration;

/// How bytes reach a peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Nothing reaches it.
    None,
    /// Through the server.
    Relayed,
    /// Over a link.
    Direct,
}

/// What decides a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInputs {
    /// The server relays to this peer in the session that both are in.
    pub relay: bool,
    /// The server answers. What is relayed while it does not is not known to arrive.
    pub server_answers: bool,
    /// A stalled link is sent frames beside the relay: the server has not answered since the link
    /// stalled, so that either may be the one that works. Not set for a link that is stalled by
    /// congestion.
    pub both: bool,
    /// The link to this peer.
    pub link: LinkQuality,
    /// The relay is used even if the link could carry what is sent: the uplink has no room for one
    /// more direct copy.
    pub prefer_relay: bool,
    /// Since when the server has not answered.
    pub dark_since: Option<Duration>,
}

/// How well a link carries what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkQuality {
    /// There is none on which HandshakeP2P has gone both ways.
    Unbound,
    /// It carries what it is given.
    Healthy,
    /// What it was given is not acknowledged.
    Stalled,
}

/// The route and, during a planned move, the route that is being left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteState {
    route: Route,
    leaving: Option<Leaving>,
    /// Frames also go over the stalled link.
    both: bool,
    /// Whether what is sent is known to arrive.
    arrives: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaving {
    route: Route,
    until: Duration,
}

/// For this long a planned move sends on both routes, so that nothing is lost between them.
/// Duplicates play once.
pub const OVERLAP: Duration = Duration::from_millis(200);

/// A server that has not answered for this long relays nothing that is worth waiting for. Sooner,
/// what seems dark may be an uplink that is full, and direct copies would fill it more.
pub const DARK_AFTER: Duration = Duration::from_secs(3);

/// Whether a server that has not answered since then is taken to be away.
pub fn is_dark(now: Duration, dark_since: Option<Duration>) -> bool {
    dark_since.is_some_and(|since| now >= since + DARK_AFTER)
}

impl Default for RouteState {
    fn default() -> Self {
        Self { route: Route::None, leaving: None, both: false, arrives: false }
    }
}

impl RouteState {
    /// The route in force; none while nothing is known to arrive, even if frames are still sent.
    pub fn route(self) -> Route {
        if self.arrives { self.route } else { Route::None }
    }

    /// Whether a frame sent now goes over the link.
    pub fn uses_link(self) -> bool {
        self.both || self.uses(Route::Direct)
    }

    /// Whether a frame sent now goes through the relay.
    pub fn uses_relay(self) -> bool {
        self.uses(Route::Relayed)
    }

    /// When the route that is being left is used no more.
    pub(crate) fn timer(self) -> Option<Duration> {
        self.leaving.map(|leaving| leaving.until)
    }

    fn uses(self, route: Route) -> bool {
        self.route == route || self.leaving.is_some_and(|leaving| leaving.route == route)
    }

    /// The state that follows from this one.
    ///
    /// Direct when the link is healthy, else relayed, else whatever the link still does. A route
    /// that can still be used is left with an overlap; one that cannot is left at once, and so is a
    /// link whose packets the uplink has no room for: what it was given is on its way. When the
    /// server has been dark for [`DARK_AFTER`], a healthy link is used even so. A link that has
    /// stalled without congestion is used beside the relay until the server has answered.
    #[must_use]
    pub fn next(self, now: Duration, inputs: RouteInputs) -> Self {
        let prefer_relay = inputs.prefer_relay && !is_dark(now, inputs.dark_since);
        let route = match (inputs.link, inputs.relay) {
            (LinkQuality::Healthy, true) if prefer_relay => Route::Relayed,
            (LinkQuality::Healthy, _) | (LinkQuality::Stalled, false) => Route::Direct,
            (LinkQuality::Stalled | LinkQuality::Unbound, true) => Route::Relayed,
            (LinkQuality::Unbound, false) => Route::None,
        };
        let usable = |old: Route| match old {
            Route::None => false,
            Route::Relayed => inputs.relay,
            Route::Direct => inputs.link == LinkQuality::Healthy && !prefer_relay,
        };
        let leaving = if route != self.route {
            Some(Leaving { route: self.route, until: now + OVERLAP })
        } else {
            self.leaving
        };
        let leaving = leaving.filter(|leaving| leaving.until > now && usable(leaving.route));
        let arrives = match route {
            Route::None => false,
            Route::Relayed => inputs.server_answers,
            Route::Direct => inputs.link == LinkQuality::Healthy,
        };
        Self { route, leaving, both: inputs.both && inputs.link == LinkQuality::Stalled, arrives }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: RouteInputs = RouteInputs {
        relay: false,
        server_answers: true,
        both: false,
        link: LinkQuality::Unbound,
        prefer_relay: false,
        dark_since: None,
    };
    const RELAY_ONLY: RouteInputs = RouteInputs { relay: true, ..NOTHING };
    const BOTH: RouteInputs = RouteInputs { relay: true, link: LinkQuality::Healthy, ..NOTHING };
    const STALLED: RouteInputs = RouteInputs { relay: true, link: LinkQuality::Stalled, ..NOTHING };
    const LINK_ONLY: RouteInputs = RouteInputs { link: LinkQuality::Healthy, ..NOTHING };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// proves: D-32
    #[test]
    fn a_pair_starts_relayed_and_moves_to_direct_with_an_overlap() {
        let state = RouteState::default().next(at(0), RELAY_ONLY);
        assert_eq!(state.route(), Route::Relayed);
        assert!(!state.uses_link());
        let state = state.next(at(10), BOTH);
        assert_eq!(state.route(), Route::Direct);
        assert!(state.uses_link() && state.uses_relay());
        let state = state.next(at(209), BOTH);
        assert!(state.uses_relay());
        let state = state.next(at(210), BOTH);
        assert!(!state.uses_relay() && state.uses_link());
    }

    #[test]
    fn a_stalled_link_is_left_at_once_and_without_overlap() {
        let direct = RouteState::default().next(at(0), BOTH).next(at(300), BOTH);
        let state = direct.next(at(301), STALLED);
        assert_eq!(state.route(), Route::Relayed);
        assert!(!state.uses_link());
    }

    /// proves: D-33
    #[test]
    fn a_listener_without_room_on_the_uplink_is_relayed_at_once_and_direct_again_with_an_overlap() {
        let crowded = RouteInputs { prefer_relay: true, ..BOTH };
        let direct = RouteState::default().next(at(0), BOTH).next(at(300), BOTH);
        let state = direct.next(at(301), crowded);
        assert_eq!(state.route(), Route::Relayed);
        assert!(!state.uses_link());
        let state = state.next(at(400), BOTH);
        assert!(state.route() == Route::Direct && state.uses_link() && state.uses_relay());
        let alone = RouteInputs { prefer_relay: true, ..LINK_ONLY };
        assert_eq!(
            state.next(at(700), alone).route(),
            Route::Direct,
            "without a relay the link is all there is"
        );
    }

    /// proves: D-33
    #[test]
    fn a_listener_that_is_relayed_by_choice_is_direct_while_the_server_is_dark() {
        let crowded = RouteInputs { prefer_relay: true, ..BOTH };
        let dark = RouteInputs { server_answers: false, dark_since: Some(at(1_000)), ..crowded };
        let relayed = RouteState::default().next(at(0), crowded);
        let state = relayed.next(at(1_000), dark).next(at(3_999), dark);
        assert!(state.uses_relay() && !state.uses_link(), "the uplink may be what is full");
        let state = state.next(at(4_000), dark);
        assert!(state.route() == Route::Direct && state.uses_relay(), "with an overlap");
        let state = state.next(at(5_000), dark).next(at(5_010), crowded);
        assert!(state.route() == Route::Relayed && !state.uses_link(), "it answers again");
    }

    #[test]
    fn without_a_relay_a_stalled_link_is_all_there_is_and_is_not_called_a_route() {
        let state = RouteState::default().next(at(0), RouteInputs { relay: false, ..STALLED });
        assert!(state.uses_link());
        assert_eq!(state.route(), Route::None);
    }

    #[test]
    fn a_stalled_link_is_used_beside_a_relay_that_has_not_answered_yet() {
        let direct = RouteState::default().next(at(0), BOTH).next(at(300), BOTH);
        let state = direct.next(at(301), RouteInputs { both: true, ..STALLED });
        assert!(state.uses_link() && state.uses_relay());
        assert_eq!(state.route(), Route::Relayed);
        let state = state.next(at(340), STALLED);
        assert!(!state.uses_link() && state.uses_relay());
    }

    #[test]
    fn a_relay_whose_server_does_not_answer_is_used_and_not_called_a_route() {
        let silent = RouteInputs { server_answers: false, ..RELAY_ONLY };
        let state = RouteState::default().next(at(0), silent);
        assert!(state.uses_relay());
        assert_eq!(state.route(), Route::None);
        assert_eq!(state.next(at(5), RELAY_ONLY).route(), Route::Relayed);
    }

    #[test]
    fn a_relay_that_goes_away_ends_an_overlap() {
        let state = RouteState::default()
            .next(at(0), RELAY_ONLY)
            .next(at(10), BOTH)
            .next(at(20), LINK_ONLY);
        assert!(state.uses_link() && !state.uses_relay());
        assert_eq!(state.next(at(30), NOTHING).route(), Route::None);
    }
}
