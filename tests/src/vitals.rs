//! What a process takes: memory, time, handles. Read from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

/// What a process has at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Bytes of memory.
    pub resident: u64,
    /// Open file descriptors, those of BPF too.
    pub descriptors: u64,
    /// Those of them that are maps, programs or links of BPF.
    pub bpf: u64,
    /// Threads.
    pub threads: u64,
}

impl Vitals {
    /// Reads those of a process.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(id: u32) -> Result<Self> {
        let status = read(id, "status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.with_context(|| format!("no {name} of process {id}"))
        };
        let (mut descriptors, mut bpf) = (0, 0);
        let path = format!("/proc/{id}/fd");
        for entry in fs::read_dir(&path).with_context(|| format!("read {path}"))? {
            let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
            descriptors += 1;
            bpf += u64::from(target.to_string_lossy().starts_with("anon_inode:bpf"));
        }
        Ok(Self { resident: number("VmRSS")? << 10, descriptors, bpf, threads: number("Threads")? })
    }
}

/// Returns the time that a process has spent on CPUs.
///
/// # Errors
/// If there is no such process.
pub fn cpu_time(id: u32) -> Result<Duration> {
    let stat = read(id, "stat")?;
    // The name in parentheses may have blanks in it.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("no times in stat")?;
    // USER_HZ is 100 on every architecture that weir runs on.
    Ok(Duration::from_millis(ticks * 10))
}

/// Returns the bytes of address space that a process has.
///
/// # Errors
/// If there is no such process.
pub fn address_space(id: u32) -> Result<u64> {
    let pages = read(id, "statm")?;
    let pages: u64 = pages.split(' ').next().and_then(|pages| pages.parse().ok()).context("no pages")?;
    Ok(pages * 4096)
}

/// Bounds the address space of a process, or takes the bound away.
///
/// # Errors
/// If there is no such process.
pub fn limit_address_space(id: u32, bytes: Option<u64>) -> Result<()> {
    // The hard limit stays: only some may raise it again.
    let (most, limit) = (libc::RLIM_INFINITY, bytes.unwrap_or(libc::RLIM_INFINITY));
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: most };
    // SAFETY: the limit outlives the call, and the old one is not asked for.
    let result =
        unsafe { libc::prlimit(id.cast_signed(), libc::RLIMIT_AS, &raw const limit, std::ptr::null_mut()) };
    ensure!(result == 0, "limit process {id}: {}", std::io::Error::last_os_error());
    Ok(())
}

fn read(id: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{id}/{file}");
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_something() {
        let id = std::process::id();
        let vitals = Vitals::of(id).unwrap();
        assert!(vitals.resident > 1 << 20 && vitals.descriptors >= 3 && vitals.threads >= 1, "{vitals:?}");
        assert_eq!(vitals.bpf, 0);
        assert!(address_space(id).unwrap() > vitals.resident);
        cpu_time(id).unwrap();
        assert!(Vitals::of(0).is_err());
    }
}
