//! What the process wants of its allocator.

/// Blocks from this size on go back to the system when they are freed. Lists of fewer entries than
/// half a million are below, and cost no page faults.
#[cfg(target_env = "gnu")]
const LARGE: std::ffi::c_int = 4 << 20;

/// Has the memory of long lists go back to the system when they are gone. glibc learns from each large
/// block that is freed to keep such, up to 32 MiB: after some changes of three million entries that
/// were 100 MB, in pieces that fit nothing.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes two numbers, and the allocator's lock while it notes them. What it returns says
    // whether it has; where it has not, more memory is kept.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
