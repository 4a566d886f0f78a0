//! The one pool of worker threads of the process, and how many of them may run at once.

mod crew;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use rayon_core::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::fork;
pub use crew::Crew;

/// Threads with nothing to do but wait for work of [`pool`].
struct Pool {
    threads: ThreadPool,
    size: usize,
    /// Work that was lent a thread, which has not come yet.
    awaited: AtomicUsize,
    /// The process that started it, in forks from the first one: threads are not there in the child of a fork.
    generation: u32,
}

static POOL: ArcSwapOption<Pool> = ArcSwapOption::const_empty();
/// Callers and workers that compute now, over all batches of the process: the generation of the process in the upper half
/// and their number in the lower. The child of a fork does not have what was busy in its parent.
static BUSY: AtomicU64 = AtomicU64::new(0);
const COUNT: u64 = u32::MAX as u64;

/// What the pool's threads are for: rows of batches, and long runs that their caller watches.
#[derive(Clone)]
pub struct Workers(Arc<Pool>);

/// The pool, with at least `size` threads; started at the first use, and anew in the child of a fork.
pub fn pool(size: usize) -> Result<Workers> {
    let generation = fork::generation();
    let current = POOL.load_full();
    if let Some(pool) = &current
        && pool.generation == generation
        && pool.size >= size
    {
        return Ok(Workers(Arc::clone(pool)));
    }
    let threads =
        ThreadPoolBuilder::new().num_threads(size).thread_name(|index| format!("glowplug-{index}")).build().map_err(
            |error| {
                let problem = format!("cannot start {size} threads: {error}");
                Error::new(
                    ErrorKind::OutOfMemory,
                    "worker threads",
                    problem,
                    "pass `threads=1`, or allow the process more threads",
                )
            },
        )?;
    let pool = Arc::new(Pool { threads, size, awaited: AtomicUsize::new(0), generation });
    // Of two callers that start one at once, the second's stays; the first's ends with its caller's work.
    if let Some(old) = POOL.swap(Some(Arc::clone(&pool)))
        && old.generation != generation
    {
        // Ending it would wait for threads that the fork left behind.
        std::mem::forget(old);
    }
    Ok(Workers(pool))
}

/// Lets the pool's threads end as soon as they have nothing to do; whoever needs them next starts them anew.
pub fn park() {
    if let Some(old) = POOL.swap(None)
        && old.generation != fork::generation()
    {
        std::mem::forget(old);
    }
}

impl Workers {
    /// Calls `here` on this thread and `work` on up to `helpers` threads of the pool, and waits for all of them.
    pub fn share(&self, helpers: usize, work: impl Fn() + Sync, here: impl FnOnce()) {
        self.0.threads.in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| work());
            }
            here();
        });
    }

    /// Calls `work` on a thread of the pool, when there is one: not at all if as many wait for one already as it has.
    fn lend(&self, work: impl FnOnce() + Send + 'static) {
        let pool = Arc::clone(&self.0);
        if pool.awaited.fetch_add(1, Ordering::AcqRel) >= pool.size {
            pool.awaited.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        self.0.threads.spawn(move || {
            pool.awaited.fetch_sub(1, Ordering::AcqRel);
            work();
        });
    }
}

/// Leave to compute on several threads, given back when dropped.
pub struct Permits {
    count: usize,
    generation: u64,
}

impl Permits {
    /// Leave for up to `wanted` threads of `limit` that the process may have busy; at least for one, the caller's own.
    pub fn take(wanted: usize, limit: usize) -> Self {
        let generation = u64::from(fork::generation()) << 32;
        let mut count = 1;
        let _ = BUSY.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let busy = if state & !COUNT == generation { state & COUNT } else { 0 };
            let free = limit.saturating_sub(usize::try_from(busy).unwrap_or(usize::MAX));
            count = wanted.min(free).max(1);
            Some(generation | (busy + count as u64).min(COUNT))
        });
        Self { count, generation }
    }

    /// For how many threads.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Permits {
    fn drop(&mut self) {
        let _ = BUSY.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let is_mine = state & !COUNT == self.generation;
            is_mine.then(|| self.generation | (state & COUNT).saturating_sub(self.count as u64))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn parked_threads_come_back() {
        let before = pool(1).unwrap();
        park();
        let after = pool(1).unwrap();
        let count = Mutex::new(0);
        // Who still has the old ones may use them to the end.
        for workers in [before, after] {
            workers.share(1, || *count.lock().unwrap() += 1, || {});
        }
        assert_eq!(*count.lock().unwrap(), 2);
    }

    #[test]
    fn work_is_shared() {
        let names = Mutex::new(Vec::new());
        let note = || names.lock().unwrap().push(std::thread::current().name().unwrap_or("").to_owned());
        pool(2).unwrap().share(2, note, note);
        let names = names.into_inner().unwrap();
        assert_eq!(names.len(), 3);
        assert_eq!(names.iter().filter(|name| name.starts_with("glowplug-")).count(), 2);
        assert!(pool(3).unwrap().0.size >= 3, "grows when more are asked for");
    }

    #[test]
    fn permits_are_bounded_and_given_back() {
        let limit = 1000;
        let first = Permits::take(990, limit);
        assert_eq!(first.count(), 990);
        let second = Permits::take(50, limit);
        assert!(second.count() <= 10);
        let third = Permits::take(50, limit - 1);
        assert_eq!(third.count(), 1, "the caller's own thread is never refused");
        drop((first, second, third));
        assert!(Permits::take(limit - 10, limit).count() > 900);
    }
}
