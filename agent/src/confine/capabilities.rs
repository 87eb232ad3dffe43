//! What root may and others may not.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What enforcement takes for as long as it lasts: maps and programs when tables grow; links to
/// interfaces, which come and go; programs that calculate with pointers, as the verifier allows them to
/// who may see kernel memory.
const KEPT: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];
/// What a start takes besides: ports below 1024, a BPF filesystem where none is mounted and the owners
/// of programs on interfaces, and giving up the rest.
const FOR_START: [Capability; 4] = [
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SETPCAP,
];

/// Keeps what a start takes, as far as this process has it.
pub(super) fn for_start() -> Result<(), CapsError> {
    keep(&KEPT.into_iter().chain(FOR_START).collect()).map(drop)
}

/// Keeps what enforcement takes, in the two sets that matter. Nothing is executed, so nothing is
/// inherited and the bounding set is empty.
pub(super) fn for_good() -> Result<String, CapsError> {
    caps::clear(None, CapSet::Ambient)?;
    // Only who has CAP_SETPCAP can; without, a process that executes nothing gains nothing by it.
    let bounded = caps::clear(None, CapSet::Bounding);
    caps::clear(None, CapSet::Inheritable)?;
    let kept = keep(&KEPT.into_iter().collect())?;
    let mut names: Vec<_> = kept.iter().map(|capability| capability.to_string().to_lowercase()).collect();
    names.sort_unstable();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    Ok(if bounded.is_ok() { names } else { format!("{names}; the bounding set is as it was") })
}

fn keep(wanted: &CapsHashSet) -> Result<CapsHashSet, CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = permitted.intersection(wanted).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(kept)
}
