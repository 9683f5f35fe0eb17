//! Notices of the kernel when links, addresses or routes change (rtnetlink(7)). Only that one came
//! counts, not what it says. What the routes are now, the kernel is asked.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use tokio::io::unix::AsyncFd;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE of
/// linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Of one notice; what is longer is cut off, which does no harm.
const NOTICE_BYTES: usize = 4096;
/// Notices read at once.
const NOTICES: usize = 256;

/// RTM_NEWROUTE, RTM_GETROUTE, NLM_F_REQUEST, RTA_DST, RTA_OIF and RTA_GATEWAY of the same.
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const REQUEST: u16 = 1;
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const GATEWAY: u16 = 5;
/// `struct nlmsghdr` and `struct rtmsg`, which begin each question and each answer.
const MESSAGE_HEADERS_BYTES: usize = 16 + 12;
/// `struct rtattr` before each value; the next one begins at a multiple of four.
const ATTRIBUTE_HEADER_BYTES: usize = 4;

#[derive(Debug)]
pub(super) struct Notices(AsyncFd<OwnedFd>);

impl Notices {
    /// None where the system does not let this process read them.
    pub(super) fn open() -> Option<Self> {
        let socket = routing_socket()?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS)).ok()?;
        #[allow(
            deprecated,
            reason = "the other constructor is unsafe; an OwnedFd always names the same open socket"
        )]
        let socket = AsyncFd::new(socket);
        socket.ok().map(Self)
    }

    /// Waits until something changes.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        let mut notice = [0; NOTICE_BYTES];
        for _ in 0..NOTICES {
            match recv(guard.get_inner(), &mut notice, RecvFlags::empty()) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    guard.clear_ready();
                    return Ok(());
                }
                // Some were lost because there were too many: that is a notice as well.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn routing_socket() -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // NETLINK_ROUTE is protocol 0.
    socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).ok()
}

/// Where packets to an address go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextHop {
    interface: u32,
    /// None within the network that the interface is attached to.
    gateway: Option<IpAddr>,
}

impl NextHop {
    /// By the kernel's answer to the question `RTM_GETROUTE`; none without a route.
    pub(super) fn towards(to: IpAddr) -> Option<Self> {
        let socket = routing_socket()?;
        send(&socket, &question(to), SendFlags::empty()).ok()?;
        let mut answer = [0; NOTICE_BYTES];
        // The kernel has answered when `send` returns.
        let (length, _) = recv(&socket, &mut answer, RecvFlags::empty()).ok()?;
        Self::parse(answer.get(..length)?)
    }

    fn parse(answer: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8], at: usize| {
            Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
        };
        if number(answer, 4)? != NEW_ROUTE {
            return None;
        }
        let (mut interface, mut gateway) = (None, None);
        let mut attributes = answer.get(MESSAGE_HEADERS_BYTES..)?;
        while attributes.len() >= ATTRIBUTE_HEADER_BYTES {
            let length = usize::from(number(attributes, 0)?);
            let value = attributes.get(ATTRIBUTE_HEADER_BYTES..length)?;
            match number(attributes, 2)? {
                INTERFACE => interface = Some(u32::from_ne_bytes(value.try_into().ok()?)),
                GATEWAY => gateway = Some(address(value)?),
                _ => {}
            }
            attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Self { interface: interface?, gateway })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// `struct nlmsghdr`, `struct rtmsg` and the attribute `RTA_DST`.
fn question(to: IpAddr) -> Vec<u8> {
    let (family, destination) = match to {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    let attribute_bytes = ATTRIBUTE_HEADER_BYTES + destination.len();
    let mut message = Vec::with_capacity(MESSAGE_HEADERS_BYTES + attribute_bytes);
    message.extend(((MESSAGE_HEADERS_BYTES + attribute_bytes) as u32).to_ne_bytes());
    message.extend(GET_ROUTE.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Sequence number and port id of the question: only one is asked on a socket.
    message.extend([0; 8]);
    message.extend([family.as_raw() as u8, (destination.len() * 8) as u8]);
    message.resize(MESSAGE_HEADERS_BYTES, 0);
    message.extend((attribute_bytes as u16).to_ne_bytes());
    message.extend(DESTINATION.to_ne_bytes());
    message.extend(destination);
    message
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// An answer with these attributes.
    fn answer(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0; MESSAGE_HEADERS_BYTES];
        message[4..6].copy_from_slice(&NEW_ROUTE.to_ne_bytes());
        for (kind, value) in attributes {
            message.extend(((ATTRIBUTE_HEADER_BYTES + value.len()) as u16).to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend(*value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        message
    }

    #[test]
    fn the_kernel_names_the_next_hop_towards_loopback() {
        let hop = NextHop::towards(Ipv4Addr::LOCALHOST.into()).expect("there is a loopback");
        assert_eq!(hop.gateway, None);
        assert_ne!(hop.interface, 0);
    }

    #[test]
    fn a_gateway_is_read_from_the_answer() {
        let interface = 7_u32.to_ne_bytes();
        let further = (9, [1_u8, 2, 3, 4, 5].as_slice());
        let hop = |gateway: &[u8]| {
            NextHop::parse(&answer(&[further, (INTERFACE, &interface), (GATEWAY, gateway)]))
        };
        let through =
            |gateway: &str| Some(NextHop { interface: 7, gateway: Some(gateway.parse().unwrap()) });
        assert_eq!(hop(&[192, 168, 1, 254]), through("192.168.1.254"));
        assert_eq!(hop(&[0xfe; 16]), through("fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe"));
        assert_eq!(hop(&[1, 2, 3]), None, "no address");
    }

    #[test]
    fn an_answer_that_is_cut_off_or_an_error_names_no_hop() {
        let interface = 7_u32.to_ne_bytes();
        let whole = answer(&[(INTERFACE, &interface), (GATEWAY, &[192, 168, 1, 1])]);
        for length in 0..whole.len() {
            // Cut off between two attributes it names what it has.
            let hop = NextHop::parse(&whole[..length]);
            assert!(hop.is_none_or(|hop| hop.gateway.is_none()), "{length} bytes");
        }
        let mut error = whole;
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(NextHop::parse(&error), None);
        assert_eq!(NextHop::parse(&answer(&[(INTERFACE, &[])])), None);
    }
}
