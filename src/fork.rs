//! Notices that the process is a forked child, so that locks and threads of the parent are not trusted.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();
/// Held by work that must not be torn apart by a fork, and by a thread while it forks.
static WHOLE: Mutex<()> = Mutex::new(());

thread_local! {
    /// What the forking thread holds from before the fork until after it, in the parent and in the child.
    static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Makes forks wait while the result lives.
///
/// For work inside the engine's library that takes locks of its own: a child forked meanwhile would find them locked for
/// ever. Such work runs one at a time, and must not wait for the thread that forks.
pub fn keep_whole() -> MutexGuard<'static, ()> {
    REGISTERED.call_once(register);
    WHOLE.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    extern "C" fn before() {
        let guard = WHOLE.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that is ending keeps nothing; then the guard is given back at once.
        let _ = HELD.try_with(|held| *held.borrow_mut() = Some(guard));
    }
    extern "C" fn after() {
        let _ = HELD.try_with(|held| held.borrow_mut().take());
    }
    extern "C" fn in_child() {
        after();
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handlers touch an atomic, a thread-local and a mutex that the forking thread itself has locked; none of
    // them allocates or panics. If registration fails for lack of memory, it is as on systems without fork.
    unsafe { libc::pthread_atfork(Some(before), Some(after), Some(in_child)) };
}

#[cfg(not(unix))]
fn register() {}
