//! Notices of the kernel when links, addresses or routes change (rtnetlink(7)). Only that one came
//! counts, not what it says.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE of
/// linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Of one notice; what is longer is cut off, which does no harm.
const NOTICE_BYTES: usize = 4096;
/// Notices read at once.
const NOTICES: usize = 256;

#[derive(Debug)]
pub(super) struct Notices(AsyncFd<OwnedFd>);

impl Notices {
    /// None where the system does not let this process read them.
    pub(super) fn open() -> Option<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is protocol 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).ok()?;
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
