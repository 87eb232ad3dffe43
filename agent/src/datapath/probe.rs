//! What the kernel of this host can do: whether weir runs on it, and what it does without.

use std::{fmt, fs, io};

use aya::{
    programs::{ProgramError, ProgramType, SchedClassifier, TcAttachType},
    sys::{BpfHelper, SyscallError, is_helper_supported},
};
use nix::errno::Errno;
use serde::Serialize;

use super::{DatapathError, Result};

/// The oldest kernel that weir runs on. `cargo xtask test kernels` boots it; docs/kernels.md says
/// what asks for it.
pub const MINIMUM: Release = Release(6, 1);

/// Helpers of the program that came last into the kernel, or depend on how it was built. A vendor's
/// kernel may call itself anything.
const HELPERS: [(BpfHelper, &str); 4] = [
    (BpfHelper::BPF_FUNC_jiffies64, "bpf_jiffies64"),
    (BpfHelper::BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns"),
    (BpfHelper::BPF_FUNC_xdp_get_buff_len, "bpf_xdp_get_buff_len"),
    (BpfHelper::BPF_FUNC_xdp_load_bytes, "bpf_xdp_load_bytes"),
];

const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// Only the first network namespace shows it.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// First and second number of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(u32, u32);

/// A kernel that weir runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Support {
    /// What `uname -r` says.
    pub release: String,
    /// What it lacks.
    pub lacks: Vec<Lack>,
}

/// Something that weir does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// What is missing.
    pub feature: &'static str,
    /// The kernel that has it, or what to do.
    pub mend: &'static str,
    /// What follows.
    pub effect: &'static str,
}

const TCX: Lack = Lack {
    feature: "no TCX",
    mend: "Linux 6.6",
    effect: "an interface that takes no XDP program cannot be protected",
};
const GENERIC_BUFFERS: Lack = Lack {
    feature: "no generic XDP over several buffers",
    mend: "Linux 6.9",
    effect: "generic mode copies large packets first",
};
const NO_JIT: Lack = Lack {
    feature: "the BPF compiler is off",
    mend: "sysctl net.core.bpf_jit_enable=1",
    effect: "every packet costs several times as much",
};

/// What was found out. Nothing where it could not be.
#[derive(Clone, Debug, Default)]
struct Facts {
    release: String,
    missing_helpers: Vec<&'static str>,
    tcx: Option<bool>,
    jit: Option<bool>,
}

/// Checks the kernel before anything is put into it, and logs in one line what it is and lacks.
///
/// # Errors
/// [`DatapathError::Kernel`] where weir does not run on it.
pub fn check() -> Result<Support> {
    let support = judge(&Facts { missing_helpers: missing_helpers(), ..facts() })?;
    if support.lacks.is_empty() {
        tracing::info!(kernel = support.release, "this kernel has all that weir uses");
    } else {
        tracing::warn!(kernel = support.release, "this kernel lacks: {}", support.lacks_text());
    }
    Ok(support)
}

/// Returns what the kernel is and lacks, whether weir runs on it or not.
#[must_use]
pub fn look() -> Support {
    let facts = facts();
    Support { lacks: lacks(&facts), release: facts.release }
}

impl Support {
    /// Returns what it lacks, and what follows from it, in a line.
    #[must_use]
    pub fn lacks_text(&self) -> String {
        self.lacks.iter().map(Lack::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl Release {
    /// Reads the first two numbers of a release such as `6.1.0-56-amd64`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.feature, self.mend, self.effect)
    }
}

/// Decides. A release without numbers is nobody's to refuse: what it has decides.
fn judge(facts: &Facts) -> Result<Support> {
    let refused = |reason| DatapathError::Kernel { release: facts.release.clone(), reason };
    if Release::parse(&facts.release).is_some_and(|release| release < MINIMUM) {
        return Err(refused("is too old".to_owned()));
    }
    if !facts.missing_helpers.is_empty() {
        return Err(refused(format!("has no {}", facts.missing_helpers.join(", "))));
    }
    Ok(Support { release: facts.release.clone(), lacks: lacks(facts) })
}

fn lacks(facts: &Facts) -> Vec<Lack> {
    // Of what cannot be asked for, the release tells; of an unknown one nothing is said.
    let older = |than| Release::parse(&facts.release).is_some_and(|release| release < than);
    let mut lacks = Vec::new();
    if !facts.tcx.unwrap_or_else(|| !older(Release(6, 6))) {
        lacks.push(TCX);
    }
    if older(Release(6, 9)) {
        lacks.push(GENERIC_BUFFERS);
    }
    if facts.jit == Some(false) {
        lacks.push(NO_JIT);
    }
    lacks
}

fn facts() -> Facts {
    let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned());
    Facts {
        release: read(RELEASE).unwrap_or_else(|_| "of an unknown release".to_owned()),
        missing_helpers: Vec::new(),
        tcx: tcx(),
        jit: read(JIT).ok().map(|setting| setting != "0"),
    }
}

/// Returns the helpers that this kernel surely has not. Where it cannot be asked, the verifier will
/// tell.
fn missing_helpers() -> Vec<&'static str> {
    let missing = |helper| matches!(is_helper_supported(ProgramType::Xdp, helper), Ok(false));
    HELPERS.iter().filter(|(helper, _)| missing(*helper)).map(|(_, name)| *name).collect()
}

/// Asks for the programs of the loopback interface: a kernel that does not know the kind says so.
fn tcx() -> Option<bool> {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => Some(true),
        Err(ProgramError::SyscallError(SyscallError { io_error, .. })) => knows(&io_error),
        Err(_) => None,
    }
}

fn knows(error: &io::Error) -> Option<bool> {
    (error.raw_os_error() == Some(Errno::EINVAL as i32)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_of(release: &str) -> Facts {
        Facts { release: release.to_owned(), tcx: Some(true), jit: Some(true), ..Facts::default() }
    }

    #[test]
    fn releases_are_read_as_vendors_write_them() {
        for (text, want) in [
            ("6.1.0-56-amd64", Some(Release(6, 1))),
            ("6.12.117+deb12-amd64", Some(Release(6, 12))),
            ("5.14.0-503.el9.x86_64", Some(Release(5, 14))),
            ("6.18-rc1", Some(Release(6, 18))),
            ("7.0", Some(Release(7, 0))),
            ("of an unknown release", None),
            ("6", None),
            ("", None),
        ] {
            assert_eq!(Release::parse(text), want, "{text}");
        }
        assert!(Release(5, 19) < MINIMUM && Release(6, 0) < MINIMUM && Release(6, 10) > Release(6, 9));
    }

    #[test]
    fn an_old_kernel_is_refused_by_name() {
        let error = judge(&facts_of("5.15.0-91-generic")).unwrap_err().to_string();
        for word in ["5.15.0-91-generic", "too old", &format!("{MINIMUM} or newer")] {
            assert!(error.contains(word), "{error}");
        }
        assert!(judge(&facts_of("6.0.19")).is_err());
        assert!(judge(&facts_of("6.1.0")).is_ok());
        assert!(judge(&facts_of("of an unknown release")).is_ok());
    }

    #[test]
    fn a_kernel_without_a_helper_is_refused_whatever_it_calls_itself() {
        let facts = Facts { missing_helpers: vec!["bpf_jiffies64"], ..facts_of("6.18.0-vendor") };
        let error = judge(&facts).unwrap_err().to_string();
        assert!(error.contains("6.18.0-vendor has no bpf_jiffies64"), "{error}");
    }

    #[test]
    fn what_a_kernel_lacks_is_told_with_what_follows() {
        let lacks = |facts: &Facts| judge(facts).unwrap().lacks;
        assert_eq!(lacks(&facts_of("6.18.44")), []);
        assert_eq!(lacks(&facts_of("6.6.0")), [GENERIC_BUFFERS]);
        let old = Facts { tcx: Some(false), ..facts_of("6.1.0") };
        assert_eq!(lacks(&old), [TCX, GENERIC_BUFFERS]);
        let slow = Facts { jit: Some(false), ..facts_of("6.12.0") };
        assert_eq!(lacks(&slow), [NO_JIT]);
        let text = judge(&slow).unwrap().lacks_text();
        assert!(text.contains("bpf_jit_enable=1") && text.contains("several times"), "{text}");
    }

    #[test]
    fn where_it_cannot_be_asked_the_release_tells() {
        let unasked = |release| Facts { tcx: None, jit: None, ..facts_of(release) };
        assert_eq!(judge(&unasked("6.5.0")).unwrap().lacks, [TCX, GENERIC_BUFFERS]);
        assert_eq!(judge(&unasked("6.18.0")).unwrap().lacks, []);
        assert_eq!(judge(&unasked("of an unknown release")).unwrap().lacks, []);
    }
}
