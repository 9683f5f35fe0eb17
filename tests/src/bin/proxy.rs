//! A forward proxy for the network tests: HTTP CONNECT (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928, RFC
//! 1929).
//!
//! ```text
//! voicemesh-proxy http|socks5 ADDRESS [USER:PASSWORD]
//! ```
//!
//! Prints `listening`, then a line for each request: `CONNECT host:port` or `refused: why`. Names
//! are resolved here.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::exit;
use std::thread;
use std::time::Duration;

/// Longest head of a CONNECT request.
const MAX_HEAD: usize = 16 * 1024;
/// A client has this long for its request, and a destination to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
const SOCKS_VERSION: u8 = 5;
const SOCKS_NO_PASSWORD: u8 = 0;
const SOCKS_PASSWORD: u8 = 2;
const SOCKS_NONE_ACCEPTABLE: u8 = 0xff;

/// Reads a client's request; gives its destination, and the answer once that is connected.
type Accept = fn(&mut TcpStream, Option<&str>) -> io::Result<(String, &'static [u8])>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, address, password) = match arguments.as_slice() {
        [kind, address] => (kind.as_str(), address, None),
        [kind, address, password] => (kind.as_str(), address, Some(password.clone())),
        _ => fail("takes http|socks5 ADDRESS [USER:PASSWORD]"),
    };
    let accept: Accept = match kind {
        "http" => accept_http,
        "socks5" => accept_socks,
        _ => fail("knows http and socks5"),
    };
    let listener =
        TcpListener::bind(address).unwrap_or_else(|error| fail(&format!("{address}: {error}")));
    println!("listening");
    for client in listener.incoming().flatten() {
        let password = password.clone();
        thread::spawn(move || {
            if let Err(why) = serve(client, accept, password.as_deref()) {
                println!("refused: {why}");
            }
        });
    }
}

fn fail(why: &str) -> ! {
    eprintln!("voicemesh-proxy: {why}");
    exit(1)
}

fn serve(mut client: TcpStream, accept: Accept, password: Option<&str>) -> io::Result<()> {
    client.set_read_timeout(Some(TIMEOUT))?;
    let (destination, answer) = accept(&mut client, password)?;
    println!("CONNECT {destination}");
    let addresses = destination.to_socket_addrs()?;
    let mut result = Err(Error::new(ErrorKind::NotFound, "no address"));
    for address in addresses {
        result = TcpStream::connect_timeout(&address, TIMEOUT);
        if result.is_ok() {
            break;
        }
    }
    let server = result?;
    client.write_all(answer)?;
    client.set_read_timeout(None)?;
    let (back, forth) = ((server.try_clone()?, client.try_clone()?), (client, server));
    thread::spawn(move || copy(back.0, back.1));
    copy(forth.0, forth.1);
    Ok(())
}

/// Copies until the end, and passes the end on.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn accept_http(
    client: &mut TcpStream,
    password: Option<&str>,
) -> io::Result<(String, &'static [u8])> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > MAX_HEAD {
            return Err(Error::new(ErrorKind::InvalidData, "the head is too long"));
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let request: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let ["CONNECT", destination, _] = request[..] else {
        client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")?;
        return Err(Error::new(ErrorKind::InvalidData, "not a CONNECT request"));
    };
    let given = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
    let expected = password.map(|password| format!("Basic {}", base64(password.as_bytes())));
    if expected.is_some() && expected.as_deref() != given.map(|(_, value)| value) {
        client.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\n\r\n",
        )?;
        return Err(Error::new(ErrorKind::PermissionDenied, "no or a wrong password"));
    }
    Ok((destination.to_owned(), b"HTTP/1.1 200 Connection established\r\n\r\n"))
}

fn accept_socks(
    client: &mut TcpStream,
    password: Option<&str>,
) -> io::Result<(String, &'static [u8])> {
    let wrong = |why: &'static str| Error::new(ErrorKind::InvalidData, why);
    let [version, methods] = read(client)?;
    let methods = read_some(client, methods)?;
    let method = if password.is_some() { SOCKS_PASSWORD } else { SOCKS_NO_PASSWORD };
    if version != SOCKS_VERSION || !methods.contains(&method) {
        client.write_all(&[SOCKS_VERSION, SOCKS_NONE_ACCEPTABLE])?;
        return Err(wrong("no acceptable method"));
    }
    client.write_all(&[SOCKS_VERSION, method])?;
    if let Some(password) = password {
        let [_, length] = read(client)?;
        let user = read_some(client, length)?;
        let [length] = read(client)?;
        let given = [&user, &b":"[..], &read_some(client, length)?].concat();
        let matches = given == password.as_bytes();
        client.write_all(&[1, u8::from(!matches)])?;
        if !matches {
            return Err(wrong("a wrong password"));
        }
    }
    let [_, command, _, kind] = read(client)?;
    let host = match kind {
        1 => Ipv4Addr::from(read::<4>(client)?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(read::<16>(client)?)),
        3 => {
            let [length] = read(client)?;
            String::from_utf8_lossy(&read_some(client, length)?).into_owned()
        }
        _ => return Err(wrong("an unknown kind of address")),
    };
    let port = u16::from_be_bytes(read(client)?);
    if command != 1 {
        return Err(wrong("not a CONNECT request"));
    }
    Ok((format!("{host}:{port}"), &[SOCKS_VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
}

fn read<const LENGTH: usize>(client: &mut TcpStream) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_some(client: &mut TcpStream, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, index| {
            (bits << 8) | u32::from(chunk.get(index).copied().unwrap_or(0))
        });
        for index in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * index)) as usize & 63] as char;
            text.push(if index <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
