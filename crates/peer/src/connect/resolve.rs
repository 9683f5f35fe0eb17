//! The addresses of a host. A name is asked for by family (RFC 8305 §3): a name server that leaves
//! one of the two questions unanswered does not hold up the other's answer.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use futures_util::future::{Either, select};
use tokio::net::lookup_host;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use voicemesh_mesh::ConnectFailure;

/// The system's resolver has this long. It asks each name server twice, five seconds each, before
/// it gives up on one.
const LOOKUP_LIMIT: Duration = Duration::from_secs(15);
/// IPv6 addresses are waited for this long once the IPv4 addresses are known.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

type Answer = Result<Vec<SocketAddr>, ConnectFailure>;
/// The answer to a question about a name.
type Question = Pin<Box<dyn Future<Output = Answer> + Send>>;
/// Addresses that come later; none if there are no more.
pub(super) type Later = Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>;

/// The addresses of `host` (a name, an address, or a link-local address with its zone) that are
/// known first, and those that may come later.
pub(super) async fn lookup(
    host: &str,
    port: u16,
) -> Result<(Vec<SocketAddr>, Later), ConnectFailure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((vec![SocketAddr::new(address, port)], nothing()));
    }
    if let Some((_, zone)) = host.split_once('%') {
        // The system knows the numbers of interfaces by their names.
        let addresses = lookup_host((host, port))
            .await
            .map_err(|_| ConnectFailure::UnknownZone(zone.to_owned()))?;
        return Ok((addresses.collect(), nothing()));
    }
    combine(ask(host, port, AddrFamily::Inet6), ask(host, port, AddrFamily::Inet)).await
}

/// Only the IPv6 addresses of a name.
pub(super) async fn lookup_ipv6(name: &str) -> Answer {
    ask(name, 0, AddrFamily::Inet6).await
}

async fn combine(
    ipv6: Question,
    ipv4: Question,
) -> Result<(Vec<SocketAddr>, Later), ConnectFailure> {
    match select(ipv6, ipv4).await {
        Either::Left((Ok(ipv6), ipv4)) => Ok((ipv6, later(ipv4))),
        Either::Right((Ok(ipv4), mut ipv6)) => match timeout(RESOLUTION_DELAY, &mut ipv6).await {
            Ok(Ok(ipv6)) => Ok(([ipv6, ipv4].concat(), nothing())),
            Ok(Err(_)) => Ok((ipv4, nothing())),
            Err(_) => Ok((ipv4, later(ipv6))),
        },
        Either::Left((Err(failure), other)) | Either::Right((Err(failure), other)) => {
            match other.await {
                Ok(addresses) => Ok((addresses, nothing())),
                // That one family is missing says nothing if the other was not answered.
                Err(ConnectFailure::UnknownHost) => Err(failure),
                Err(other) => Err(other),
            }
        }
    }
}

fn later(question: Question) -> Later {
    Box::pin(async move { question.await.unwrap_or_default() })
}

fn nothing() -> Later {
    Box::pin(std::future::ready(Vec::new()))
}

fn ask(host: &str, port: u16, family: AddrFamily) -> Question {
    let name = host.to_owned();
    let asked = spawn_blocking(move || {
        let hints = AddrInfoHints {
            address: family.into(),
            socktype: SockType::Stream.into(),
            ..AddrInfoHints::default()
        };
        let found =
            getaddrinfo(Some(&name), None, Some(hints)).map_err(|error| not_looked_up(&error))?;
        let addresses = found.filter_map(Result::ok).map(|found| {
            let mut address = found.sockaddr;
            address.set_port(port);
            address
        });
        let addresses: Vec<SocketAddr> = addresses.collect();
        tracing::debug!(%name, ?addresses, "looked up");
        if addresses.is_empty() { Err(ConnectFailure::UnknownHost) } else { Ok(addresses) }
    });
    Box::pin(async move {
        match timeout(LOOKUP_LIMIT, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(silent()),
        }
    })
}

fn not_looked_up(error: &LookupError) -> ConnectFailure {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => ConnectFailure::UnknownHost,
        LookupErrorKind::Again => silent(),
        _ => ConnectFailure::LookupFailed("this system's resolver cannot say".to_owned()),
    }
}

fn silent() -> ConnectFailure {
    ConnectFailure::LookupFailed(
        "this machine's name server does not answer, or it is offline".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn combined(
        ipv6: Question,
        ipv4: Question,
    ) -> Result<(Vec<SocketAddr>, Later), ConnectFailure> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(combine(ipv6, ipv4))
    }

    fn answer(address: &str) -> Question {
        Box::pin(ready(Ok(vec![SocketAddr::new(address.parse().expect(address), 1)])))
    }

    fn failed(failure: ConnectFailure) -> Question {
        Box::pin(ready(Err(failure)))
    }

    fn now(
        result: Result<(Vec<SocketAddr>, Later), ConnectFailure>,
    ) -> Result<Vec<String>, ConnectFailure> {
        result.map(|(addresses, _)| {
            addresses.iter().map(|address| address.ip().to_string()).collect()
        })
    }

    #[test]
    fn a_question_that_is_not_answered_does_not_hold_up_the_other() {
        assert_eq!(
            now(combined(Box::pin(pending()), answer("192.0.2.1"))),
            Ok(vec!["192.0.2.1".into()])
        );
        assert_eq!(
            now(combined(answer("2001:db8::1"), Box::pin(pending()))),
            Ok(vec!["2001:db8::1".into()])
        );
    }

    #[test]
    fn what_comes_later_is_used_as_well() {
        let (first, later) =
            combined(answer("2001:db8::1"), answer("192.0.2.1")).expect("addresses");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let all: Vec<_> =
            first.into_iter().chain(runtime.block_on(later)).map(|address| address.ip()).collect();
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_name_without_one_family_has_the_other_and_one_without_both_is_unknown() {
        let unknown = || failed(ConnectFailure::UnknownHost);
        assert_eq!(now(combined(unknown(), answer("192.0.2.1"))), Ok(vec!["192.0.2.1".into()]));
        assert_eq!(now(combined(unknown(), unknown())), Err(ConnectFailure::UnknownHost));
        for result in [combined(unknown(), failed(silent())), combined(failed(silent()), unknown())]
        {
            assert_eq!(now(result), Err(silent()));
        }
    }
}
