//! A program of somebody else's on an interface: XDP that lets everything pass.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use weir_tests::namespace::Namespace;

/// What it is called.
pub(crate) const NAME: &str = "stranger";

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// `r0 = XDP_PASS; exit`
const INSTRUCTIONS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    _link: OwnedFd,
    _program: OwnedFd,
}

/// The beginning of `union bpf_attr`, for loading.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    at: u64,
    license: u64,
    log: [u32; 4],
    kernel: u32,
    flags: u32,
    name: [u8; 16],
}

/// Likewise, for links.
#[repr(C)]
struct Link {
    program: RawFd,
    interface: u32,
    kind: u32,
    flags: u32,
}

impl Stranger {
    /// Attaches it to an interface of a namespace.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.run(|| {
            let mut name = [0; 16];
            name[..NAME.len()].copy_from_slice(NAME.as_bytes());
            let load = Load {
                kind: BPF_PROG_TYPE_XDP,
                instructions: 2,
                at: INSTRUCTIONS.as_ptr() as u64,
                license: c"GPL".as_ptr() as u64,
                log: [0; 4],
                kernel: 0,
                flags: 0,
                name,
            };
            let program = bpf(BPF_PROG_LOAD, &load).context("load a program")?;
            let index = if_nametoindex(interface)?;
            let link = Link { program: program.as_raw_fd(), interface: index, kind: BPF_XDP, flags: 0 };
            let link = bpf(BPF_LINK_CREATE, &link).with_context(|| format!("attach to {interface}"))?;
            Ok(Self { _link: link, _program: program })
        })
    }
}

/// Makes a call of bpf(2) that returns a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let size = mem::size_of::<T>();
    // SAFETY: the attributes, and what they point to, outlive the call and are as long as is said.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size) };
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made it, and nobody else has it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
