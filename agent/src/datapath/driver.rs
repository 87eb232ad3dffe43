//! The name of an interface's driver, from ethtool (`ETHTOOL_GDRVINFO`). In sysfs it would be that of
//! the namespace in which sysfs was mounted.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

// include/uapi/linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 3;
const NAME: usize = 32;
/// `struct ethtool_drvinfo`, of which the name of the driver is the beginning.
const INFO: usize = 196;
/// `struct ifreq`.
const REQUEST: usize = 40;

#[repr(C, align(8))]
struct Info {
    command: u32,
    rest: [u8; INFO - 4],
}

#[repr(C, align(8))]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut Info,
    rest: [u8; REQUEST - libc::IFNAMSIZ - 8],
}

/// Returns the name of the driver of the interface `name`; nothing where it does not say.
pub(super) fn of(name: &str) -> Option<String> {
    ask(name).ok().flatten()
}

fn ask(name: &str) -> io::Result<Option<String>> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut info = Info { command: ETHTOOL_GDRVINFO, rest: [0; INFO - 4] };
    let mut request = Request { name: [0; _], data: &raw mut info, rest: [0; _] };
    let room = libc::IFNAMSIZ - 1;
    for (to, from) in request.name[..room].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: the request is as long as a `struct ifreq`, and what it points to as what ethtool writes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&info.rest[..NAME]).ok().and_then(|name| name.to_str().ok());
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_driver_says_so() {
        assert_eq!(of("no-such-thing"), None);
        assert_eq!(size_of::<Request>(), REQUEST);
    }
}
