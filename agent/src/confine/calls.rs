//! System calls: seccomp.
//!
//! What is refused is listed, not what is allowed: an allow-list knows one libc, and breaks with the
//! next. What neither has heard of yet is not there for this process, as on an older kernel.

use std::{collections::BTreeMap, env::consts::ARCH};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What nothing in the agent does: whoever tries has taken it over. The process ends, the kernel notes it
/// (audit, type 1326) and enforces on.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_pivot_root,
];
/// What is refused with EPERM.
const REFUSED: &[i64] = &[
    // Other processes, namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // The kernel as a whole.
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Ways into the kernel that have had holes, and that nothing here uses.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // Who the process is.
    libc::SYS_capset,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
];
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];
/// Its arguments are in memory, where no filter sees them; libcs fall back on `clone`.
const CLONE3: i64 = libc::SYS_clone3;
// Newer than the crate libc: include/uapi/asm-generic/unistd.h of Linux 6.18.
const OPEN_TREE_ATTR: i64 = 467;
/// The last that has been looked at. Numbers are the same everywhere from 424 on; those of x32, the other
/// calls of x86-64, begin far beyond.
const LAST: i64 = 469;
/// Families of sockets.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Commands of bpf(2) that the datapath uses: maps and programs, their pins, and links. Not among them:
/// to open what others have made, by number, and to attach to anything but interfaces.
const BPF_COMMANDS: [u64; 17] = [
    0,  // BPF_MAP_CREATE
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    5,  // BPF_PROG_LOAD
    6,  // BPF_OBJ_PIN
    7,  // BPF_OBJ_GET
    10, // BPF_PROG_TEST_RUN
    15, // BPF_OBJ_GET_INFO_BY_FD
    16, // BPF_PROG_QUERY
    18, // BPF_BTF_LOAD
    19, // BPF_BTF_GET_FD_BY_ID
    22, // BPF_MAP_FREEZE
    28, // BPF_LINK_CREATE
    29, // BPF_LINK_UPDATE
    34, // BPF_LINK_DETACH
];
/// ioctl(2) that types into the terminal from which the agent was started.
const TERMINAL: [u64; 2] = [0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */];

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallsError {
    #[error("the filter cannot be made: {0}")]
    Made(#[from] seccompiler::BackendError),
    #[error("the kernel refuses it: {0}")]
    Refused(#[from] seccompiler::Error),
}

/// Holds the calling thread, and all that it starts, to what is not refused.
pub(super) fn hold() -> Result<String, CallsError> {
    let architecture = TargetArch::try_from(ARCH)?;
    let compile = |rules, action| -> Result<BpfProgram, CallsError> {
        Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?)
    };
    let (deadly, refused) = (always(DEADLY), refused()?);
    let count = deadly.len() + refused.len();
    let eperm = SeccompAction::Errno(libc::EPERM as u32);
    // Of several filters the strictest answer holds.
    apply_filter(&unheard_of())?;
    apply_filter(&compile(refused, eperm)?)?;
    apply_filter(&compile(deadly, SeccompAction::KillProcess)?)?;
    Ok(format!("{count} calls refused or bounded"))
}

fn always(calls: &[i64]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn refused() -> Result<Rules, CallsError> {
    let mut rules = always(REFUSED);
    rules.extend(always(OLD));
    // Threads are made, processes are not.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![rule([(0, SeccompCmpOp::MaskedEq(thread), 0)])?]);
    let families = FAMILIES.map(|family| (0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())));
    let netlink = (0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64);
    // Of netlink interfaces and routes only: CAP_NET_ADMIN would open the firewall as well.
    let not_route = (2, SeccompCmpOp::Ne, 0);
    rules.insert(libc::SYS_socket, vec![rule(families.clone())?, rule([netlink, not_route])?]);
    rules.insert(libc::SYS_socketpair, vec![rule([families[0].clone()])?]);
    rules.insert(libc::SYS_bpf, vec![rule(BPF_COMMANDS.map(|command| (0, SeccompCmpOp::Ne, command)))?]);
    let typing = TERMINAL.map(|request| rule([(1, SeccompCmpOp::Eq, request)]));
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    Ok(rules)
}

/// Returns what holds where all of these hold: number of an argument, comparison, value.
fn rule(
    conditions: impl IntoIterator<Item = (u8, SeccompCmpOp, u64)>,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.into_iter();
    let conditions =
        conditions.map(|(argument, compare, value)| SeccompCondition::new(argument, Dword, compare, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// Calls that do not exist, as far as this process is concerned (ENOSYS). Calls of another architecture
/// are the affair of the other filters.
#[expect(clippy::cast_possible_truncation, reason = "classic BPF has 16 and 32 bits")]
fn unheard_of() -> BpfProgram {
    let instruction = |code: u32, jt, jf, k: u32| sock_filter { code: code as u16, jt, jf, k };
    let is = |code: u32| libc::BPF_JMP | code | libc::BPF_K;
    let answer = |answer| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    vec![
        // The number of the call is the first word of `struct seccomp_data`.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(is(libc::BPF_JGT), 1, 0, LAST as u32),
        instruction(is(libc::BPF_JEQ), 0, 1, CLONE3 as u32),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}
