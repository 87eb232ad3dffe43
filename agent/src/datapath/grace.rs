//! Waits until no packet is judged by what was in force before.

use std::{thread, time::Duration};

/// How long a packet can be in the hands of the program: NAPI polls end within milliseconds.
const PATIENCE: Duration = Duration::from_millis(100);

/// `MEMBARRIER_CMD_GLOBAL`, include/uapi/linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: i64 = 1;

/// Returns when every program run that may have read the old generation has ended.
///
/// XDP programs run inside RCU read sections, and `membarrier(MEMBARRIER_CMD_GLOBAL)` is
/// `synchronize_rcu` (kernel/sched/membarrier.c). Where the kernel refuses it (nohz_full), time
/// stands in for it.
pub(super) fn wait() {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        thread::sleep(PATIENCE);
    }
}
