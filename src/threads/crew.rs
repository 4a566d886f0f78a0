//! Threads that stay together for one run, and share its large steps.
//!
//! Waking a thread takes 15 to 30 µs until it is there, and 9 µs of who wakes it, so it is done once for a run and not for each
//! step: a helper looks out for the next step for a while, and goes when there was none for so long. Nobody waits for a helper
//! that has not come yet: so work of less than a tenth of a millisecond may be offered as well.
#![allow(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::{Permits, pool};

/// How long a helper looks out for the next step, and the caller for the end of a helper's part. What takes longer is not
/// waited for in this way: then there are more threads than CPUs for them.
const PATIENCE: Duration = Duration::from_micros(50);
/// Looks between two looks at the clock.
const LOOKS: usize = 64;

/// The caller of a run and its helpers.
#[derive(Debug)]
pub struct Crew {
    size: usize,
    board: Option<Arc<Board>>,
}

/// Where helpers find what there is to do.
struct Board {
    task: Mutex<Option<&'static (dyn Fn() + Sync)>>,
    /// How many tasks there have been.
    tasks: AtomicUsize,
    /// Helpers that are at the task.
    inside: AtomicUsize,
    is_over: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
    is_caller_asleep: AtomicBool,
}

/// Whether helpers look out for another task after the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Never,
    Between,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Board").field("tasks", &self.tasks).finish_non_exhaustive()
    }
}

impl Crew {
    /// The caller alone.
    pub fn alone() -> Self {
        Self { size: 1, board: None }
    }

    /// Calls `run` with a crew of up to `threads`, of which this thread is one: fewer if others of the process are busy.
    pub fn gather<T>(threads: usize, run: impl FnOnce(&Self) -> T) -> T {
        if threads < 2 {
            return run(&Self::alone());
        }
        let permits = Permits::take(threads, threads);
        Self::with(&permits, threads, Stay::Between, run)
    }

    /// Calls `here` on this thread, and `help` on those others that there is leave for and that come before `here` is done; waits
    /// for the latter. The pool has at least `limit` threads.
    pub fn once(permits: &Permits, limit: usize, help: &(dyn Fn() + Sync), here: impl FnOnce()) {
        Self::with(permits, limit, Stay::Never, |crew| crew.together(help, here));
    }

    fn with<T>(permits: &Permits, limit: usize, stay: Stay, run: impl FnOnce(&Self) -> T) -> T {
        let (helpers @ 1.., Ok(workers)) = (permits.count() - 1, pool(limit)) else { return run(&Self::alone()) };
        let board = Arc::new(Board::new());
        for _ in 0..helpers {
            let board = Arc::clone(&board);
            workers.lend(move || board.help(stay));
        }
        let over = Over(&board);
        let done = run(&Self { size: permits.count(), board: Some(Arc::clone(&board)) });
        drop(over);
        done
    }

    /// How many threads there are, at most.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Calls `work` with each part, on whichever thread is free.
    pub fn share<T: Send>(&self, parts: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        if self.board.is_none() {
            parts.for_each(work);
            return;
        }
        let parts = Mutex::new(parts);
        // Apart, so that the lock is not held while the part is worked on.
        let next = || lock(&parts).next();
        let all = || {
            while let Some(part) = next() {
                work(part);
            }
        };
        self.together(&all, all);
    }

    /// The same, but this thread begins with the first part and helpers with the last one: what one step leaves in the cache of a
    /// CPU, the same part of the next one finds there.
    pub fn share_from_ends<T: Send>(&self, parts: impl DoubleEndedIterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        if self.board.is_none() {
            parts.for_each(work);
            return;
        }
        let parts = Mutex::new(parts);
        let (first, last) = (|| lock(&parts).next(), || lock(&parts).next_back());
        let help = || {
            while let Some(part) = last() {
                work(part);
            }
        };
        self.together(&help, || {
            while let Some(part) = first() {
                work(part);
            }
        });
    }

    /// Calls `here` on this thread, and `help` on helpers while it runs.
    fn together(&self, help: &(dyn Fn() + Sync), here: impl FnOnce()) {
        let Some(board) = &self.board else { return here() };
        // SAFETY: only its lifetime becomes longer. Helpers find it on the board only, and count themselves in while they hold
        // the board's lock. `Closed` takes it off the board under that lock and waits until all have counted themselves out; it
        // does so before this function ends, whether by returning or by a panic of `here`.
        let task = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(help) };
        let closed = Closed(board);
        *lock(&board.task) = Some(task);
        board.tasks.fetch_add(1, Ordering::Release);
        here();
        drop(closed);
        if let Some(panic) = lock(&board.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Board {
    fn new() -> Self {
        Self {
            task: Mutex::new(None),
            tasks: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            panic: Mutex::new(None),
            caller: std::thread::current(),
            is_caller_asleep: AtomicBool::new(false),
        }
    }

    /// What a helper does, from when it comes until the run is over or takes too long between two tasks.
    fn help(&self, stay: Stay) {
        let (mut seen, mut looks, mut since) = (0, 0, Instant::now());
        while !self.is_over.load(Ordering::Acquire) {
            let tasks = self.tasks.load(Ordering::Acquire);
            if tasks != seen {
                seen = tasks;
                self.take_part();
                if stay == Stay::Never {
                    return;
                }
                (looks, since) = (0, Instant::now());
            }
            looks += 1;
            if looks % LOOKS == 0 && since.elapsed() > PATIENCE {
                return;
            }
            std::hint::spin_loop();
        }
    }

    fn take_part(&self) {
        let task = {
            let task = lock(&self.task);
            let Some(task) = *task else { return };
            self.inside.fetch_add(1, Ordering::SeqCst);
            task
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(task)) {
            *lock(&self.panic) = Some(panic);
        }
        // Nothing that the task lent is used from here on.
        if self.inside.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_caller_asleep.load(Ordering::SeqCst) {
            self.caller.unpark();
        }
    }
}

/// Ends a task when dropped.
struct Closed<'a>(&'a Board);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let board = self.0;
        *lock(&board.task) = None;
        let (mut looks, since) = (0, Instant::now());
        while board.inside.load(Ordering::SeqCst) > 0 {
            looks += 1;
            if looks % LOOKS == 0 && since.elapsed() > PATIENCE {
                board.is_caller_asleep.store(true, Ordering::SeqCst);
                while board.inside.load(Ordering::SeqCst) > 0 {
                    std::thread::park();
                }
                board.is_caller_asleep.store(false, Ordering::SeqCst);
            }
            std::hint::spin_loop();
        }
    }
}

/// Ends a run when dropped.
struct Over<'a>(&'a Board);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that parts add up to, on a crew that has come.
    fn sums(crew: &Crew, parts: usize) -> Vec<usize> {
        let mut sums = vec![0; parts];
        crew.share(sums.iter_mut().enumerate(), |(number, sum)| *sum = (0..=number).sum());
        sums
    }

    #[test]
    fn parts_are_done_once_by_any_crew() {
        for threads in 1..4 {
            for _ in 0..200 {
                Crew::gather(threads, |crew| {
                    assert!((1..=threads).contains(&crew.size()));
                    for parts in [0, 1, 2, 7, 100] {
                        let expected: Vec<usize> = (0..parts).map(|number| number * (number + 1) / 2).collect();
                        assert_eq!(sums(crew, parts), expected);
                    }
                });
            }
        }
    }

    #[test]
    fn parts_are_done_once_from_both_ends() {
        for threads in 1..4 {
            for parts in [0, 1, 2, 7, 100] {
                let mut counts = vec![0; parts];
                let first = Mutex::new(Vec::new());
                Crew::gather(threads, |crew| {
                    let caller = std::thread::current().id();
                    crew.share_from_ends(counts.iter_mut().enumerate(), |(number, count)| {
                        *count += 1;
                        if std::thread::current().id() == caller {
                            first.lock().unwrap().push(number);
                        }
                    });
                });
                assert!(counts.iter().all(|count| *count == 1));
                let first = first.into_inner().unwrap();
                assert_eq!(first, (0..first.len()).collect::<Vec<_>>(), "the caller's are the first ones");
            }
        }
    }

    #[test]
    fn who_comes_late_is_not_waited_for_and_finds_nothing() {
        let board = Arc::new(Board::new());
        let crew = Crew { size: 2, board: Some(Arc::clone(&board)) };
        let (helped, mut here) = (AtomicUsize::new(0), 0);
        crew.together(&|| _ = helped.fetch_add(1, Ordering::SeqCst), || here += 1);
        board.help(Stay::Never);
        assert_eq!((here, helped.load(Ordering::SeqCst)), (1, 0));
        // In time.
        crew.together(&|| _ = helped.fetch_add(1, Ordering::SeqCst), || board.help(Stay::Never));
        assert_eq!(helped.into_inner(), 1);
    }

    #[test]
    fn helpers_come_and_are_waited_for() {
        // Another test may have the permits, so not every run has helpers.
        let names = Mutex::new(std::collections::HashSet::new());
        for _ in 0..2000 {
            Crew::gather(2, |crew| {
                let parts = std::iter::repeat_n((), 8);
                crew.share(parts, |()| {
                    std::thread::sleep(Duration::from_micros(200));
                    names.lock().unwrap().insert(std::thread::current().id());
                });
            });
            if names.lock().unwrap().len() > 1 {
                return;
            }
        }
        assert_eq!(Permits::take(2, 2).count(), 1, "no helper ever came, though there was leave for it");
    }

    #[test]
    fn panics_reach_the_caller_and_leave_the_crew_whole() {
        for bad in 0..20 {
            let ran = catch_unwind(|| {
                Crew::gather(2, |crew| {
                    crew.share(0..20, |number| {
                        std::thread::sleep(Duration::from_micros(50));
                        assert!(number != bad, "part {number}");
                    });
                });
            });
            let panic = ran.unwrap_err();
            assert_eq!(panic.downcast_ref::<String>(), Some(&format!("part {bad}")));
        }
        Crew::gather(2, |crew| assert_eq!(sums(crew, 3), [0, 1, 3]));
    }
}
