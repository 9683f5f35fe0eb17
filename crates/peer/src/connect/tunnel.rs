//! A connection through a proxy: `CONNECT` (RFC 9110 §9.3.6) or SOCKS 5 (RFC 1928, RFC 1929).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;

use super::proxy::{User, with_port};
use super::words::socket_words;
use voicemesh_mesh::ProxyFailure;

/// Longest answer to `CONNECT`, headers included.
const MAX_ANSWER: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Asks an HTTP proxy to connect `stream` to the server.
pub(super) async fn connect<S>(
    stream: &mut S,
    host: &str,
    port: u16,
    user: Option<&User>,
) -> Result<(), ProxyFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let target = with_port(host, port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(User { name, password }) = user {
        let credentials = STANDARD.encode(format!("{name}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let answer = read_head(stream).await?;
    judge(&answer, &target, user.is_some())
}

/// Byte by byte, so that nothing is taken of what the server sends after it.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, ProxyFailure> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() == MAX_ANSWER {
            return Err(ProxyFailure::NotAProxy("its answer has no end".to_owned()));
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            // What a proxy says before it hangs up may still name the reason.
            Err(_) if !head.is_empty() => break,
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(head)
}

fn judge(answer: &[u8], target: &str, has_user: bool) -> Result<(), ProxyFailure> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer);
    let Some(status) = response.code else {
        return Err(ProxyFailure::NotAProxy("it is no HTTP proxy".to_owned()));
    };
    match status {
        200..=299 if parsed.is_ok() => Ok(()),
        407 => {
            let schemes = response
                .headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case("proxy-authenticate"));
            let schemes = schemes.filter_map(|header| std::str::from_utf8(header.value).ok());
            let schemes: Vec<&str> =
                schemes.filter_map(|value| value.split_whitespace().next()).collect();
            match schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"))
                || schemes.is_empty()
            {
                true if has_user => Err(ProxyFailure::AuthenticationRefused),
                true => Err(ProxyFailure::AuthenticationRequired),
                false => Err(ProxyFailure::AuthenticationUnsupported(schemes.join(", "))),
            }
        }
        401 | 403 | 405 => Err(ProxyFailure::NotAllowed(target.to_owned())),
        502..=504 => Err(ProxyFailure::TargetUnreachable(target.to_owned())),
        status => Err(ProxyFailure::Status(status)),
    }
}

/// Asks a SOCKS 5 proxy to connect `stream` to the server.
pub(super) async fn socks<S>(
    stream: S,
    target: TargetAddr<'_>,
    named: &str,
    user: Option<&User>,
) -> Result<Socks5Stream<S>, ProxyFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    use tokio_socks::Error;
    let result = match user {
        None => Socks5Stream::connect_with_socket(stream, target).await,
        Some(user) => {
            Socks5Stream::connect_with_password_and_socket(
                stream,
                target,
                &user.name,
                &user.password,
            )
            .await
        }
    };
    result.map_err(|error| match error {
        Error::NoAcceptableAuthMethods if user.is_none() => ProxyFailure::AuthenticationRequired,
        Error::NoAcceptableAuthMethods => {
            ProxyFailure::AuthenticationUnsupported("neither none nor by password".to_owned())
        }
        Error::PasswordAuthFailure(_) => ProxyFailure::AuthenticationRefused,
        Error::ConnectionNotAllowedByRuleset => ProxyFailure::NotAllowed(named.to_owned()),
        Error::GeneralSocksServerFailure
        | Error::NetworkUnreachable
        | Error::HostUnreachable
        | Error::ConnectionRefused
        | Error::TtlExpired => ProxyFailure::TargetUnreachable(named.to_owned()),
        Error::Io(error) => broken(error),
        _ => ProxyFailure::NotAProxy("it is no SOCKS 5 proxy".to_owned()),
    })
}

fn broken(error: std::io::Error) -> ProxyFailure {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            ProxyFailure::NotAProxy("it ends the connection".to_owned())
        }
        _ => ProxyFailure::NotAProxy(socket_words(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: &str, has_user: bool) -> Result<(), ProxyFailure> {
        judge(answer.as_bytes(), "host:443", has_user)
    }

    #[test]
    fn a_proxys_answer_says_what_to_change() {
        assert_eq!(judged("HTTP/1.1 200 Connection established\r\n\r\n", false), Ok(()));
        assert_eq!(judged("HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", false), Ok(()));
        let asks = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        assert_eq!(judged(asks, false), Err(ProxyFailure::AuthenticationRequired));
        assert_eq!(judged(asks, true), Err(ProxyFailure::AuthenticationRefused));
        let asks =
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n";
        assert_eq!(
            judged(asks, true),
            Err(ProxyFailure::AuthenticationUnsupported("Negotiate, NTLM".into()))
        );
        assert_eq!(
            judged("HTTP/1.1 403 No\r\n\r\n", false),
            Err(ProxyFailure::NotAllowed("host:443".into()))
        );
        assert_eq!(
            judged("HTTP/1.1 503 No\r\n\r\n", false),
            Err(ProxyFailure::TargetUnreachable("host:443".into()))
        );
        assert_eq!(judged("HTTP/1.1 418 No\r\n\r\n", false), Err(ProxyFailure::Status(418)));
        assert!(matches!(judged("SSH-2.0\r\n\r\n", false), Err(ProxyFailure::NotAProxy(_))));
        assert!(matches!(judged("", false), Err(ProxyFailure::NotAProxy(_))));
    }
}
