//! How a router maps and filters, as nftables rules.
//!
//! A router has the interfaces `wan` and `lan`. Terms of RFC 4787; the older names of RFC 3489 in
//! brackets.

use std::net::Ipv4Addr;

/// A kind of router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Forwards without translation and without a firewall.
    Routed,
    /// Endpoint-independent mapping and filtering (full cone), for one host.
    FullCone,
    /// Endpoint-independent mapping, filtering by remote address (restricted cone), for one host.
    AddressRestricted,
    /// Endpoint-independent mapping, filtering by remote address and port (port-restricted cone):
    /// most homes.
    PortRestricted,
    /// A different port for every destination (symmetric): carriers, companies.
    Symmetric,
    /// Port-restricted, and all UDP is dropped.
    NoUdp,
    /// Only TCP to ports 80, 443 and 8080 passes.
    WebOnly,
    /// As full cone, and hosts of the LAN reach each other by the public address.
    Hairpin,
}

impl Nat {
    /// The rules for a router with this public address; `host` is the machine that a full cone
    /// forwards to.
    #[must_use]
    pub fn rules(self, public: Ipv4Addr, host: Ipv4Addr) -> String {
        let filter = |accepted: &str| {
            format!(
                "table ip filter {{\n chain forward {{\n  type filter hook forward priority 0; policy drop;\n  ct state established,related accept\n  {accepted}\n }}\n chain input {{\n  type filter hook input priority 0;\n  iifname \"wan\" ct state new drop\n }}\n}}\n"
            )
        };
        let translate = |how: &str, more: &str| {
            format!(
                "table ip nat {{\n {more}\n chain post {{\n  type nat hook postrouting priority 100;\n  oifname \"wan\" masquerade {how}\n  {}\n }}\n}}\n",
                if self == Self::Hairpin {
                    "iifname \"lan\" oifname \"lan\" ct status dnat masquerade"
                } else {
                    ""
                }
            )
        };
        let forward_udp = |when: &str| {
            format!(
                "chain pre {{\n  type nat hook prerouting priority -100;\n  {when} dnat to {host}\n }}"
            )
        };
        match self {
            Self::Routed => String::new(),
            Self::FullCone => translate("", &forward_udp("iifname \"wan\" meta l4proto udp")),
            Self::Hairpin => {
                translate("", &forward_udp(&format!("ip daddr {public} meta l4proto udp")))
            }
            // A remote address may answer to a local port once that port has sent to it. What is
            // refused must leave no trace: the kernel decides about translation once for a flow.
            Self::AddressRestricted => {
                translate(
                    "",
                    &format!(
                        "set seen {{\n  type ipv4_addr . inet_service\n  flags dynamic,timeout\n  timeout 120s\n }}\n chain track {{\n  type filter hook forward priority -1;\n  iifname \"lan\" meta l4proto udp update @seen {{ ip daddr . udp sport }}\n }}\n {}",
                        forward_udp("iifname \"wan\" meta l4proto udp ip saddr . udp dport @seen")
                    ),
                ) + &filter("iifname \"lan\" accept\n  ct status dnat accept")
            }
            Self::PortRestricted => translate("", "") + &filter("iifname \"lan\" accept"),
            Self::Symmetric => {
                translate("random,fully-random", "") + &filter("iifname \"lan\" accept")
            }
            Self::NoUdp => {
                translate("", "") + &filter("meta l4proto != udp iifname \"lan\" accept")
            }
            Self::WebOnly => {
                translate("random,fully-random", "")
                    + &filter("iifname \"lan\" tcp dport { 80, 443, 8080 } accept")
            }
        }
    }
}
