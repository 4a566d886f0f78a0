//! Ends runs early, from another thread or between pieces of work.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells a running engine to end its run at the next operator.
pub type Terminate = Arc<dyn Fn() + Send + Sync>;

/// A request to stop that any number of runs watch. Once stopped, it stays so.
#[derive(Default)]
pub struct Stop {
    stopped: AtomicBool,
    next: AtomicUsize,
    running: Mutex<Vec<(usize, Terminate)>>,
}

impl Stop {
    /// Asks every run that watches to end, now and in future.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let running: Vec<Terminate> = self.lock().iter().map(|(_, terminate)| Arc::clone(terminate)).collect();
        for terminate in running {
            terminate();
        }
    }

    /// Whether runs are asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Calls `run`, which `terminate` ends early: at once, if this was stopped before.
    pub fn during<T>(&self, terminate: &Terminate, run: impl FnOnce() -> T) -> T {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().push((id, Arc::clone(terminate)));
        let _forgotten = Forget { stop: self, id };
        // Looked at after the registration: whoever stops either sees the run or is seen by it.
        if self.is_stopped() {
            terminate();
        }
        run()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Terminate)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

/// Takes a run off the list, however it ends.
struct Forget<'a> {
    stop: &'a Stop,
    id: usize,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.stop.lock().retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(count: &Arc<AtomicUsize>) -> Terminate {
        let count = Arc::clone(count);
        Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn runs_are_terminated_while_they_last() {
        let (stop, count) = (Stop::default(), Arc::new(AtomicUsize::new(0)));
        assert_eq!(stop.during(&counting(&count), || 7), 7);
        stop.during(&counting(&count), || {
            assert_eq!(count.load(Ordering::SeqCst), 0);
            stop.stop();
            assert_eq!(count.load(Ordering::SeqCst), 1);
        });
        assert!(stop.is_stopped());
        stop.during(&counting(&count), || assert_eq!(count.load(Ordering::SeqCst), 2, "stopped before it began"));
        stop.stop();
        assert_eq!(count.load(Ordering::SeqCst), 2, "the runs are over");
    }
}
