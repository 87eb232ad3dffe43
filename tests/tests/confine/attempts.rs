//! What somebody would try who has taken the agent over.

use std::{
    ffi::CString,
    fs, io,
    net::TcpListener,
    os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr as UnixAddress, unix::net::UnixStream},
    path::Path,
    ptr,
};

use nix::libc::{self, c_long};

/// What should become of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process is killed with SIGSYS.
    Killed,
    /// The call fails.
    Fails(i32),
}

/// Who refuses, and since which version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Capabilities,
    Seccomp,
    Landlock(u32),
}

/// Something that is tried.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    pub(crate) layer: Layer,
    pub(crate) end: End,
    /// It works for a process that nothing holds, and does no harm there: so that it is known to be
    /// refused by what holds the agent.
    pub(crate) harmless: bool,
    pub(crate) act: fn(&Scene) -> io::Result<()>,
}

/// Where it is tried.
pub(crate) struct Scene<'s> {
    /// A directory that the agent has no business in, with a file `secret`.
    pub(crate) outside: &'s Path,
    /// The agent's state directory.
    pub(crate) state: &'s Path,
    /// The name, without a path, of a socket of somebody else.
    pub(crate) socket: &'s str,
    /// A process of somebody else.
    pub(crate) other: i32,
}

const KILLED: End = End::Killed;
const EPERM: End = End::Fails(libc::EPERM);
const EACCES: End = End::Fails(libc::EACCES);
const ENOSYS: End = End::Fails(libc::ENOSYS);
const SECCOMP: Layer = Layer::Seccomp;

const fn attempt(
    name: &'static str,
    layer: Layer,
    end: End,
    harmless: bool,
    act: fn(&Scene) -> io::Result<()>,
) -> Attempt {
    Attempt { name, layer, end, harmless, act }
}

/// All of them. What is not harmless is tried only where it is refused.
pub(crate) const ALL: &[Attempt] = &[
    attempt("run a program", SECCOMP, KILLED, true, |_| execute()),
    attempt("make a process", SECCOMP, EPERM, true, |_| process()),
    attempt("make a process, in another way", SECCOMP, ENOSYS, false, |_| {
        call(libc::SYS_clone3, [0; 6]).map(drop)
    }),
    // Who is not held would wait for its tracer.
    attempt("be traced", SECCOMP, KILLED, false, |_| call(libc::SYS_ptrace, [0; 6]).map(drop)),
    attempt("read another process", SECCOMP, KILLED, false, |scene| {
        call(libc::SYS_process_vm_readv, [scene.other.into(), 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("load a module", SECCOMP, KILLED, false, |_| {
        call(libc::SYS_finit_module, [-1, 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("load another kernel", SECCOMP, KILLED, false, |_| {
        call(libc::SYS_kexec_file_load, [-1, -1, 0, 0, 0, 0]).map(drop)
    }),
    // Magic numbers of nothing: it fails where it is not refused.
    attempt("restart the machine", SECCOMP, KILLED, false, |_| call(libc::SYS_reboot, [0; 6]).map(drop)),
    attempt("have a namespace of users", SECCOMP, EPERM, false, |_| {
        call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("have a namespace of mounts", SECCOMP, EPERM, true, |_| {
        call(libc::SYS_unshare, [libc::CLONE_NEWNS.into(), 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("enter a namespace", SECCOMP, EPERM, false, |_| {
        call(libc::SYS_setns, [-1, 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("mount", SECCOMP, EPERM, false, |scene| {
        nix::mount::mount(
            Some("none"),
            scene.outside,
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )?;
        Ok(())
    }),
    attempt("mount, in another way", SECCOMP, EPERM, false, |_| call(libc::SYS_fsopen, [0; 6]).map(drop)),
    attempt("change the root", SECCOMP, EPERM, true, |scene| Ok(nix::unistd::chroot(scene.outside)?)),
    attempt("take capabilities back", SECCOMP, EPERM, false, |_| raise()),
    attempt("be somebody else", SECCOMP, EPERM, true, |_| call(libc::SYS_setresuid, [65534; 6]).map(drop)),
    attempt("submit work to a ring", SECCOMP, EPERM, false, |_| {
        call(libc::SYS_io_uring_setup, [0; 6]).map(drop)
    }),
    attempt("measure the kernel", SECCOMP, EPERM, false, |_| {
        call(libc::SYS_perf_event_open, [0; 6]).map(drop)
    }),
    attempt("keep a key", SECCOMP, EPERM, false, |_| call(libc::SYS_keyctl, [0; 6]).map(drop)),
    attempt("set the clock", SECCOMP, EPERM, false, |_| call(libc::SYS_clock_settime, [0; 6]).map(drop)),
    attempt("open a file by its number", SECCOMP, EPERM, false, |_| {
        call(libc::SYS_open_by_handle_at, [0; 6]).map(drop)
    }),
    attempt("make a device", SECCOMP, EPERM, false, |scene| {
        let path = CString::new(scene.state.join("disk").to_string_lossy().into_owned())?;
        let mode = i64::from(libc::S_IFBLK | 0o600);
        call(libc::SYS_mknodat, [libc::AT_FDCWD.into(), path.as_ptr() as i64, mode, 0x800, 0, 0]).map(drop)
    }),
    attempt("open a program by its number", SECCOMP, EPERM, false, |_| {
        // BPF_PROG_GET_FD_BY_ID
        call(libc::SYS_bpf, [13, 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("trace the kernel", SECCOMP, EPERM, false, |_| {
        // BPF_RAW_TRACEPOINT_OPEN
        call(libc::SYS_bpf, [17, 0, 0, 0, 0, 0]).map(drop)
    }),
    attempt("a call that nobody knows yet", SECCOMP, ENOSYS, false, |_| call(700, [0; 6]).map(drop)),
    attempt("see all packets", SECCOMP, EPERM, true, |_| socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    attempt("speak to other machines of the host", SECCOMP, EPERM, false, |_| {
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)
    }),
    attempt("change the firewall", SECCOMP, EPERM, true, |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER)
    }),
    attempt("forge packets", Layer::Capabilities, EPERM, true, |_| {
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)
    }),
    attempt("pass over permissions of a file", Layer::Capabilities, EACCES, true, |scene| {
        fs::read(scene.state.join("foreign")).map(drop)
    }),
    attempt("read elsewhere", Layer::Landlock(1), EACCES, true, |scene| {
        fs::read(scene.outside.join("secret")).map(drop)
    }),
    attempt("list elsewhere", Layer::Landlock(1), EACCES, true, |scene| {
        fs::read_dir(scene.outside).map(drop)
    }),
    attempt("write elsewhere", Layer::Landlock(1), EACCES, true, |scene| {
        fs::File::options().append(true).open(scene.outside.join("secret")).map(drop)
    }),
    attempt("make a file elsewhere", Layer::Landlock(1), EACCES, true, |scene| {
        fs::write(scene.outside.join("new"), "")
    }),
    attempt("remove a file elsewhere", Layer::Landlock(1), EACCES, true, |scene| {
        fs::remove_file(scene.outside.join("secret"))
    }),
    attempt("carry a file out", Layer::Landlock(1), EACCES, true, |scene| {
        fs::rename(scene.state.join("own"), scene.outside.join("own"))
    }),
    attempt("leave a link", Layer::Landlock(1), EACCES, true, |scene| {
        std::os::unix::fs::symlink("/etc", scene.state.join("link"))
    }),
    attempt("change the system", Layer::Landlock(1), EACCES, true, |_| {
        fs::File::options().write(true).open("/proc/sys/kernel/core_pattern").map(drop)
    }),
    attempt("listen on another port", Layer::Landlock(4), EACCES, true, |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    attempt("signal others", Layer::Landlock(6), EPERM, true, |scene| {
        Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(scene.other), None)?)
    }),
    attempt("speak to a socket without a path", Layer::Landlock(6), EPERM, true, |scene| {
        UnixStream::connect_addr(&UnixAddress::from_abstract_name(scene.socket)?).map(drop)
    }),
];

fn call(number: c_long, arguments: [i64; 6]) -> io::Result<c_long> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: what is pointed to is a string that outlives the call; other arguments are numbers or null.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Becomes another program, which ends as a success.
fn execute() -> io::Result<()> {
    let arguments = [c"/bin/true".as_ptr(), ptr::null()];
    // SAFETY: both lists end with null, and the strings outlive the call.
    unsafe { libc::execve(arguments[0], arguments.as_ptr(), arguments[1..].as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Makes a process, which ends at once.
fn process() -> io::Result<()> {
    // SAFETY: the child only ends.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: it ends without running anything of this process.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: the arguments are numbers; the process ends soon, and what it opens with it.
    let result = unsafe { libc::socket(family, kind, protocol) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn raise() -> io::Result<()> {
    /// `struct __user_cap_header_struct`, and twice `struct __user_cap_data_struct`.
    #[repr(C)]
    struct Sets {
        header: [u32; 2],
        data: [u32; 6],
    }
    let sets = Sets { header: [0x2008_0522, 0], data: [u32::MAX; 6] };
    call(libc::SYS_capset, [sets.header.as_ptr() as i64, sets.data.as_ptr() as i64, 0, 0, 0, 0]).map(drop)
}
