//! What a remote may describe: one application section, and candidates that are worth checking.
//!
//! All of it is untrusted. A candidate makes this machine send packets to an address of the
//! remote's choice, so there are few of them, only over UDP, and only to addresses that name one
//! machine.

use std::net::IpAddr;

use crate::limits::{CANDIDATE_BYTES, DESCRIPTION_BYTES};
use crate::stand_in;

/// A description without its candidates, and the candidates.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) sdp: String,
    pub(crate) candidates: Vec<String>,
}

impl Description {
    /// Takes a remote description apart. The error says what is wrong with it.
    pub(crate) fn parse(sdp: &str) -> Result<Self, &'static str> {
        if sdp.len() > DESCRIPTION_BYTES {
            return Err("the description is too large");
        }
        let mut kept = String::with_capacity(sdp.len());
        let mut candidates = Vec::new();
        let mut sections = 0;
        for line in sdp.lines() {
            if let Some(candidate) = line.strip_prefix("a=candidate:") {
                candidates.push(format!("candidate:{candidate}"));
                continue;
            }
            if let Some(section) = line.strip_prefix("m=") {
                sections += 1;
                if sections > 1 || !section.starts_with("application ") {
                    return Err("the description has more than one application section");
                }
            }
            kept.push_str(line);
            kept.push_str("\r\n");
        }
        if sections == 0 {
            return Err("the description has no application section");
        }
        Ok(Self { sdp: kept, candidates })
    }
}

/// What to do with a candidate line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// Check it.
    Usable,
    /// Nothing wrong with it, but no use here: TCP, or the mark of the end.
    Ignored,
    /// Malformed, or aimed at what is not one machine.
    Refused,
}

/// Classifies a candidate line (RFC 8839 §5.1), with or without its `candidate:`.
pub(crate) fn classify_candidate(line: &str) -> Candidate {
    let line = line.strip_prefix("a=").unwrap_or(line);
    let line = line.strip_prefix("candidate:").unwrap_or(line).trim();
    if line.is_empty() {
        return Candidate::Ignored;
    }
    if line.len() > CANDIDATE_BYTES || line.contains(char::is_control) {
        return Candidate::Refused;
    }
    let mut words = line.split(' ');
    let (Some(_foundation), Some(_component), Some(transport)) =
        (words.next(), words.next(), words.next())
    else {
        return Candidate::Refused;
    };
    if transport.eq_ignore_ascii_case("tcp") {
        return Candidate::Ignored;
    }
    let (Some(_priority), Some(address), Some(port)) = (words.next(), words.next(), words.next())
    else {
        return Candidate::Refused;
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    if transport.eq_ignore_ascii_case("udp") && is_port && is_one_machine(address) {
        Candidate::Usable
    } else {
        Candidate::Refused
    }
}

fn is_one_machine(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(ip) if stand_in::is_reserved(ip) => false,
        Ok(IpAddr::V4(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        Ok(IpAddr::V6(ip)) => !(ip.is_unspecified() || ip.is_multicast()),
        // A browser hides its host addresses behind names that only its own network resolves
        // (mDNS).
        Err(_) => address.len() <= 64 && address.ends_with(".local"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_browsers_are_usable() {
        for line in [
            "candidate:842163049 1 udp 1677729535 192.0.2.7 46154 typ srflx raddr 10.0.0.17 rport 46154 generation 0",
            "candidate:1 1 UDP 2122252543 2001:db8::17 50000 typ host",
            "a=candidate:1 1 udp 2113937151 6c0f8b54-57b4-4ea4-a2c1-6a5b6e4b0b5c.local 50000 typ host",
            "1 1 udp 2130706431 127.0.0.1 9 typ host",
        ] {
            assert_eq!(classify_candidate(line), Candidate::Usable, "{line}");
        }
    }

    #[test]
    fn candidates_that_are_no_use_are_passed_over() {
        for line in
            ["", "candidate:", "candidate:1 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active"]
        {
            assert_eq!(classify_candidate(line), Candidate::Ignored, "{line}");
        }
    }

    #[test]
    fn candidates_aimed_elsewhere_or_malformed_are_refused() {
        let long =
            format!("candidate:1 1 udp 1 192.0.2.7 9 typ host {}", "x".repeat(CANDIDATE_BYTES));
        for line in [
            "candidate:1 1 udp 1 224.0.0.251 5353 typ host",
            "candidate:1 1 udp 1 255.255.255.255 9 typ host",
            "candidate:1 1 udp 1 0.0.0.0 9 typ host",
            "candidate:1 1 udp 1 0.0.0.1 9 typ host",
            "candidate:1 1 udp 1 100::1 9 typ host",
            "candidate:1 1 udp 1 ff02::1 9 typ host",
            "candidate:1 1 udp 1 victim.example 53 typ host",
            "candidate:1 1 udp 1 192.0.2.7 0 typ host",
            "candidate:1 1 udp 1 192.0.2.7 99999 typ host",
            "candidate:1 1 sctp 1 192.0.2.7 9 typ host",
            "garbage",
            "candidate:1 1 udp 1 192.0.2.7 9 typ host\r\na=x",
            long.as_str(),
        ] {
            assert_eq!(classify_candidate(line), Candidate::Refused, "{line}");
        }
    }

    #[test]
    fn a_description_is_one_application_section_and_gives_up_its_candidates() {
        let sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=candidate:1 1 udp 1 192.0.2.7 9 typ host\r\na=mid:0\r\n";
        let description = Description::parse(sdp).unwrap();
        assert_eq!(description.candidates, ["candidate:1 1 udp 1 192.0.2.7 9 typ host"]);
        assert!(!description.sdp.contains("candidate"));
        assert!(description.sdp.ends_with("a=mid:0\r\n"));
        let with_audio = format!("{sdp}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n");
        for wrong in
            ["", "v=0", "m=audio 9 x 0", with_audio.as_str(), &"x".repeat(DESCRIPTION_BYTES + 1)]
        {
            assert!(Description::parse(wrong).is_err());
        }
    }
}
