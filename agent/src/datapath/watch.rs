//! Tells when interfaces come and go: rtnetlink, group `RTMGRP_LINK`.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::{Interest, unix::AsyncFd};

const RTMGRP_LINK: u32 = 1;
/// A message is not read, only noticed; what does not fit is cut off.
const MESSAGE_BYTES: usize = 256;

/// Hears of every change of an interface.
#[derive(Debug)]
pub struct InterfaceWatch {
    socket: AsyncFd<Socket>,
}

impl InterfaceWatch {
    /// Starts to listen. Needs a runtime.
    ///
    /// # Errors
    /// What netlink says.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, hands out that one only, and lives in the `AsyncFd`.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { socket: socket.map_err(io::Error::from)? })
    }

    /// Waits for a change. Those that came together are one.
    pub async fn changed(&mut self) {
        let Ok(mut guard) = self.socket.readable_mut().await else {
            // The runtime ends; the periodic look is all that is left.
            return std::future::pending().await;
        };
        let mut message = [0; MESSAGE_BYTES];
        // An overrun (ENOBUFS) is a change like any other, and is told once.
        while guard.get_inner_mut().recv(&mut &mut message[..], 0).is_ok_and(|length| length > 0) {}
        guard.clear_ready();
    }
}
