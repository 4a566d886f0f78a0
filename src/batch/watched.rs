//! Work on another thread, so that its caller is free to watch the time and the keyboard.

use std::sync::{Condvar, Mutex, PoisonError};

use super::{GLANCE, Watch};
use crate::deadline::{Bound, Deadline};
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::stop::Stop;
use crate::threads::pool;

/// Calls `work` on a thread of the pool, and `watch` here now and then; when that says no, or at the deadline, the work is
/// asked to stop.
pub(super) fn watched<T: Send>(
    session: &Session,
    deadline: Option<Deadline>,
    watch: &mut Watch<'_>,
    work: impl FnOnce(&Stop) -> T + Send,
) -> Result<T> {
    let stop = Bound::new(deadline)?;
    // Taken out by the one thread that works; left to be taken if none could be woken.
    let work = Mutex::new(Some(work));
    let (answer, is_done) = (Mutex::new(None), Condvar::new());
    let there = || {
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let made = work.map(|work| work(&stop));
        *answer.lock().unwrap_or_else(PoisonError::into_inner) = made;
        is_done.notify_all();
    };
    let here = || {
        let mut state = answer.lock().unwrap_or_else(PoisonError::into_inner);
        while state.is_none() {
            state = is_done.wait_timeout(state, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
            if state.is_none() {
                drop(state);
                if !stop.is_stopped() && !watch(0) {
                    stop.stop();
                }
                state = answer.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
    };
    pool(session.row_threads())?.share(1, there, here);
    answer.into_inner().unwrap_or_else(PoisonError::into_inner).ok_or_else(|| {
        let problem = "a run ended without an answer";
        Error::new(ErrorKind::Engine, session.signature().model(), problem, "report this as a bug")
    })
}
