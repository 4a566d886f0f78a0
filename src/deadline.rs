//! Ends runs when their time is over, by one thread that sleeps for the whole process.
//!
//! A run that its caller watches from outside would cost every call a change of threads. Here a call only enters itself into
//! a list, and wakes the thread if it would sleep too long; calls whose deadlines follow each other seldom do.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::error::{Error, ErrorKind, Result};
use crate::fork;
use crate::stop::Stop;

/// When a call has to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// So many seconds from now; `None` for more than a clock counts. What is not above 0 is over already.
    pub fn after(seconds: f64) -> Result<Option<Self>> {
        if seconds.is_nan() {
            let problem = "got NaN, expected a number of seconds";
            return Err(Error::new(ErrorKind::Option, "option `timeout`", problem, "leave `timeout` out for no bound"));
        }
        let Ok(allowed) = Duration::try_from_secs_f64(seconds.max(0.0)) else { return Ok(None) };
        Ok(Instant::now().checked_add(allowed).map(|at| Self { at, allowed }))
    }

    /// An earlier one, which leaves as much time to each of `parts`, of which one begins now.
    #[must_use]
    pub fn share(self, parts: u32) -> Self {
        let now = Instant::now();
        let allowed = self.at.saturating_duration_since(now) / parts.max(1);
        Self { at: now + allowed, allowed }
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// What a call is told whose time is over.
    pub fn exceeded(&self, model: &str) -> Error {
        let problem = format!("the run was not done within {:?}, and was ended", self.allowed);
        Error::new(ErrorKind::Deadline, model, problem, "allow it more time with `timeout=`, or pass fewer rows")
    }
}

/// A request to stop, which comes by itself at a deadline.
pub struct Bound {
    stop: Arc<Stop>,
    armed: Option<(Arc<Timer>, Entry)>,
}

impl Bound {
    /// One that stops at `deadline`, if there is any.
    pub fn new(deadline: Option<Deadline>) -> Result<Self> {
        let stop = Arc::new(Stop::default());
        let armed = match deadline {
            None => None,
            Some(deadline) => {
                let timer = timer()?;
                let entry = timer.enter(deadline.at, &stop);
                Some((timer, entry))
            }
        };
        Ok(Self { stop, armed })
    }
}

impl std::ops::Deref for Bound {
    type Target = Stop;

    fn deref(&self) -> &Stop {
        &self.stop
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some((timer, entry)) = &self.armed
            && timer.generation == fork::generation()
        {
            timer.lock().entries.remove(entry);
        }
    }
}

type Entry = (Instant, u64);

/// Who is to be stopped when.
struct Timer {
    state: Mutex<State>,
    is_changed: Condvar,
    /// The process whose thread it has, in forks from the first one.
    generation: u32,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Entry, Arc<Stop>>,
    next: u64,
    /// When the thread looks again; `None` while it sleeps until it is woken.
    looks_at: Option<Instant>,
    is_closed: bool,
}

static TIMER: ArcSwapOption<Timer> = ArcSwapOption::const_empty();

/// The process's own; started at the first use, and anew in the child of a fork.
fn timer() -> Result<Arc<Timer>> {
    let generation = fork::generation();
    let current = TIMER.load_full();
    if let Some(timer) = &current
        && timer.generation == generation
    {
        return Ok(Arc::clone(timer));
    }
    let timer = Timer::start(generation)?;
    let found = TIMER.compare_and_swap(&current, Some(Arc::clone(&timer)));
    let is_ours = match (&*found, &current) {
        (None, None) => true,
        (Some(found), Some(current)) => Arc::ptr_eq(found, current),
        _ => false,
    };
    if is_ours {
        if let Some(old) = current {
            // Its lock may be held by a thread that the fork left behind.
            std::mem::forget(old);
        }
        return Ok(timer);
    }
    // Somebody else's came first, and this one's thread may end.
    timer.lock().is_closed = true;
    timer.is_changed.notify_one();
    drop(found);
    self::timer()
}

impl Timer {
    fn start(generation: u32) -> Result<Arc<Self>> {
        let timer = Arc::new(Self { state: Mutex::default(), is_changed: Condvar::new(), generation });
        let its = Arc::clone(&timer);
        let thread = std::thread::Builder::new().name("glowplug-deadline".to_owned()).stack_size(128 * 1024);
        thread.spawn(move || its.ring()).map_err(|error| {
            let problem = format!("cannot start a thread: {error}");
            Error::new(ErrorKind::OutOfMemory, "option `timeout`", problem, "allow the process one more thread")
        })?;
        Ok(timer)
    }

    fn enter(&self, at: Instant, stop: &Arc<Stop>) -> Entry {
        let mut state = self.lock();
        let entry = (at, state.next);
        state.next += 1;
        state.entries.insert(entry, Arc::clone(stop));
        if state.looks_at.is_none_or(|looks_at| at < looks_at) {
            state.looks_at = Some(at);
            drop(state);
            self.is_changed.notify_one();
        }
        entry
    }

    /// Stops whoever is due, for ever.
    fn ring(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            let now = Instant::now();
            let later = state.entries.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut state.entries, later);
            if !due.is_empty() {
                drop(state);
                for stop in due.values() {
                    stop.stop();
                }
                state = self.lock();
                continue;
            }
            state.looks_at = state.entries.first_key_value().map(|((at, _), _)| *at);
            state = match state.looks_at {
                None => self.is_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let wait = at.saturating_duration_since(now);
                    self.is_changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: u32) -> Option<Deadline> {
        Deadline::after(f64::from(millis) / 1e3).unwrap()
    }

    fn wait(bound: &Bound) -> bool {
        let started = Instant::now();
        while !bound.is_stopped() && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        bound.is_stopped()
    }

    #[test]
    fn seconds_are_checked() {
        assert!(Deadline::after(f64::NAN).unwrap_err().to_string().contains("NaN"));
        assert_eq!(Deadline::after(f64::INFINITY).unwrap(), None);
        assert_eq!(Deadline::after(1e300).unwrap(), None);
        assert!(!Deadline::after(1000.0).unwrap().unwrap().is_over());
        for over in [0.0, -1.0, f64::NEG_INFINITY] {
            assert!(Deadline::after(over).unwrap().unwrap().is_over(), "{over}");
        }
    }

    #[test]
    fn bounds_stop_in_time_and_not_before() {
        let (never, late, soon) = (Bound::new(None).unwrap(), Bound::new(after(60_000)).unwrap(), Bound::new(after(5)));
        // The thread sleeps for the later one when this comes.
        assert!(wait(&soon.unwrap()));
        assert!(!never.is_stopped() && !late.is_stopped());
        let together: Vec<Bound> = (0..20).map(|_| Bound::new(after(10)).unwrap()).collect();
        assert!(together.iter().all(wait));
    }

    #[test]
    fn what_is_done_in_time_is_forgotten() {
        let count = || timer().unwrap().lock().entries.len();
        let bounds: Vec<Bound> = (0..100).map(|_| Bound::new(after(600_000)).unwrap()).collect();
        assert!(count() >= 100);
        drop(bounds);
        // Other tests have some as well.
        assert!(count() < 100);
    }

    #[test]
    fn many_threads_share_one_timer() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(wait(&Bound::new(after(3)).unwrap())));
            }
        });
        assert!(Arc::ptr_eq(&timer().unwrap(), &timer().unwrap()));
    }
}
