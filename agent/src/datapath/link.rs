//! bpf_link, through bpf(2).
//!
//! aya hides a link's descriptor and what the kernel tells of it, and where the kernel refuses an XDP
//! link it attaches through netlink instead, which nothing can pin. So links are made here.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::libc;

use super::{Result, pins};
use crate::config::Mode;

// enum bpf_cmd, include/uapi/linux/bpf.h
const OBJ_PIN: i64 = 6;
const OBJ_GET: i64 = 7;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const LINK_CREATE: i64 = 28;
const LINK_UPDATE: i64 = 29;
const LINK_DETACH: i64 = 34;
// enum bpf_attach_type
const XDP: u32 = 37;
const TCX_INGRESS: u32 = 46;
// enum bpf_link_type
const LINK_TYPE_XDP: u32 = 6;
const LINK_TYPE_TCX: u32 = 11;
// include/uapi/linux/if_link.h
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// In front of all others: what is dropped costs them nothing.
const BPF_F_BEFORE: u32 = 1 << 3;

/// A link to an interface. The program stays attached for as long as this or a pin of it lives.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

/// Where a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Native or generic: the link does not say which.
    Xdp,
    /// TCX.
    Tcx,
    /// Somewhere that is none of ours.
    Other,
}

/// What the kernel tells of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) hook: Hook,
    /// Number of the program under it.
    pub(super) program: u32,
    /// Index of the interface; 0 where that is gone.
    pub(super) ifindex: u32,
}

impl Hook {
    /// Returns where programs of this mode are attached.
    pub(super) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Auto | Mode::Native | Mode::Generic => Self::Xdp,
            Mode::Tcx => Self::Tcx,
        }
    }
}

impl Link {
    /// Attaches a program. Fails where the interface has an XDP program already.
    pub(super) fn create(program: BorrowedFd<'_>, ifindex: u32, mode: Mode) -> io::Result<Self> {
        /// `struct { ... } link_create` of `union bpf_attr`, with the part of TCX.
        #[repr(C)]
        struct Create {
            program: u32,
            ifindex: u32,
            attach_type: u32,
            flags: u32,
            relative: u32,
            reserved: u32,
            expected_revision: u64,
        }
        let (attach_type, flags) = match mode {
            Mode::Native => (XDP, XDP_FLAGS_DRV_MODE),
            Mode::Auto | Mode::Generic => (XDP, XDP_FLAGS_SKB_MODE),
            Mode::Tcx => (TCX_INGRESS, BPF_F_BEFORE),
        };
        let mut create = Create {
            program: number(program),
            ifindex,
            attach_type,
            flags,
            relative: 0,
            reserved: 0,
            expected_revision: 0,
        };
        descriptor(bpf(LINK_CREATE, &mut create)?).map(Self)
    }

    /// Opens a pinned link.
    pub(super) fn from_pin(path: &Path) -> io::Result<Self> {
        let path = c_path(path)?;
        let mut object = Object { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
        descriptor(bpf(OBJ_GET, &mut object)?).map(Self)
    }

    /// Pins the link. It may have several pins.
    pub(super) fn pin(&self, path: &Path) -> io::Result<()> {
        let path = c_path(path)?;
        let mut object = Object { path: path.as_ptr() as u64, descriptor: self.number(), flags: 0 };
        bpf(OBJ_PIN, &mut object).map(drop)
    }

    /// Puts another program in the place of the one under the link, without a gap.
    pub(super) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Update {
            link: u32,
            program: u32,
            flags: u32,
            expected: u32,
        }
        let mut update = Update { link: self.number(), program: number(program), flags: 0, expected: 0 };
        bpf(LINK_UPDATE, &mut update).map(drop)
    }

    /// Detaches the program now. Where the last pin goes instead, the kernel does so a moment later
    /// (`bpf_link_put`, kernel/bpf/syscall.c), and meanwhile nobody else can attach.
    fn detach(&self) -> io::Result<()> {
        let mut link = self.number();
        bpf(LINK_DETACH, &mut link).map(drop)
    }

    pub(super) fn info(&self) -> io::Result<Info> {
        /// Head of `struct bpf_link_info`. XDP and TCX both begin with the index.
        #[derive(Default)]
        #[repr(C)]
        struct LinkInfo {
            kind: u32,
            id: u32,
            program: u32,
            reserved: u32,
            ifindex: u32,
            attach_type: u32,
        }
        #[repr(C)]
        struct Get {
            descriptor: u32,
            length: u32,
            info: u64,
        }
        let mut info = LinkInfo::default();
        #[expect(clippy::cast_possible_truncation, reason = "24 bytes")]
        let length = size_of::<LinkInfo>() as u32;
        let mut get = Get { descriptor: self.number(), length, info: (&raw mut info) as u64 };
        bpf(OBJ_GET_INFO_BY_FD, &mut get)?;
        let hook = match info.kind {
            LINK_TYPE_XDP => Hook::Xdp,
            LINK_TYPE_TCX if info.attach_type == TCX_INGRESS => Hook::Tcx,
            _ => Hook::Other,
        };
        Ok(Info { hook, program: info.program, ifindex: info.ifindex })
    }

    fn number(&self) -> u32 {
        self.0.as_raw_fd().cast_unsigned()
    }
}

/// Detaches the program of a pinned link, and removes the pin. There may be none.
pub(super) fn end(path: &Path) -> Result<()> {
    if let Ok(link) = Link::from_pin(path) {
        // It fails where the interface is gone, and then there is nothing to detach.
        _ = link.detach();
    }
    pins::remove(path)
}

/// `struct { ... }` of `BPF_OBJ_*` in `union bpf_attr`.
#[repr(C)]
struct Object {
    path: u64,
    descriptor: u32,
    flags: u32,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn number(program: BorrowedFd<'_>) -> u32 {
    program.as_raw_fd().cast_unsigned()
}

/// Calls bpf(2). `attr` is the head of a `union bpf_attr`; the kernel takes what is missing as 0.
fn bpf<T>(command: i64, attr: &mut T) -> io::Result<i64> {
    // SAFETY: the attributes are as long as is said, and what they point to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, mem::size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn descriptor(number: i64) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_| io::Error::other("bpf(2) returned no descriptor"))?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Loads an XDP program that passes everything, and takes no frames in several buffers.
#[cfg(test)]
pub(super) fn pass() -> io::Result<OwnedFd> {
    /// `struct { ... }` of `BPF_PROG_LOAD` in `union bpf_attr`, as far as it is used.
    #[repr(C)]
    struct Load {
        kind: u32,
        instructions: u32,
        code: u64,
        license: u64,
        unused: [u32; 11],
        attach_type: u32,
    }
    // r0 = XDP_PASS; exit
    let code: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
    let mut load = Load {
        kind: 6, // BPF_PROG_TYPE_XDP
        instructions: 2,
        code: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        unused: [0; 11],
        attach_type: XDP,
    };
    descriptor(bpf(5, &mut load)?)
}
