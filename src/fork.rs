//! Notices that the process is a forked child, so that locks and threads of the parent are not trusted.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();

/// How many forks lie between the process that first asked and this one.
///
/// A handler that runs in the child of a fork counts, because asking the kernel for the pid would cost a system call per
/// inference.
pub fn generation() -> u32 {
    REGISTERED.call_once(register);
    GENERATION.load(Ordering::Relaxed)
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn register() {
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only touches an atomic, which is allowed between fork and exec in a child of many threads. If
    // registration fails for lack of memory the generation stays 0, as on systems without fork.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

#[cfg(not(unix))]
fn register() {}
