//! Runs a batch in pieces, on several threads where there are any to spare.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::assemble::{join, requests_for, settle};
use super::{GLANCE, LONG, Watch};
use crate::deadline::{Bound, Deadline};
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::stop::Stop;
use crate::tensor::{InputTensor, OutputRequest, Value};
use crate::threads::{Crew, Permits, pool};

/// Work that is worth waking a third thread for, or another one.
const WORTH_A_THREAD: Duration = Duration::from_micros(60);
/// Pieces per thread, so that threads end at about the same time, where pieces are not shorter than that.
const PIECES_PER_THREAD: u64 = 4;
const PIECE_TIME: Duration = Duration::from_micros(400);

/// The smallest part of an engine's block that is worth a piece, for threads to end together.
const LEAST_OF_BLOCK: u64 = 4;
/// Rows that kernels of trees take at once: pieces of some more took a tenth longer.
const AT_ONCE: u64 = 512;

/// Why a batch could not be run in pieces.
#[derive(Debug)]
pub(super) enum Failure {
    /// The engine's, about some row, or the caller's wish to stop.
    Error(Error),
    /// An answer that does not have the rows of its piece, or another one than the rows have together.
    NotByRows,
    /// Nothing was found out: the rows that were tried ended in an error, which all together may not.
    Undecided,
}

/// A batch that is under way.
pub(super) struct Pieces<'a> {
    session: &'a Session,
    inputs: &'a [InputTensor],
    requests: &'a [OutputRequest],
    stop: Bound,
    /// First row that nobody has taken yet.
    next: AtomicUsize,
    end: usize,
    done: AtomicUsize,
    finished: Mutex<Finished>,
    idle: Condvar,
}

#[derive(Default)]
struct Finished {
    answers: Vec<(usize, Vec<Value>)>,
    /// Of the earliest row, as a serial run would have found it.
    failure: Option<(usize, Failure)>,
    working: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(
        session: &'a Session,
        inputs: &'a [InputTensor],
        requests: &'a [OutputRequest],
        range: Range<usize>,
        deadline: Option<Deadline>,
    ) -> Result<Self> {
        Ok(Self {
            session,
            inputs,
            requests,
            stop: Bound::new(deadline)?,
            next: AtomicUsize::new(range.start),
            end: range.end,
            done: AtomicUsize::new(range.start),
            finished: Mutex::default(),
            idle: Condvar::new(),
        })
    }

    /// Runs all pieces and gives the answers of each, by its first row.
    pub(super) fn run(self, watch: &mut Watch<'_>) -> std::result::Result<Vec<(usize, Vec<Value>)>, Failure> {
        let rows = self.end - self.next.load(Ordering::Relaxed);
        let pace = self.session.pace();
        let share = pace.rows_in(WORTH_A_THREAD).unwrap_or(1).max(1);
        // Two are worth a try wherever pieces are.
        let wanted = (rows as u64).div_ceil(share).max(2).min(self.session.row_threads() as u64);
        let permits = Permits::take(usize::try_from(wanted).unwrap_or(1), self.session.row_threads());
        let threads = permits.count();
        let most = self.most_rows(rows, threads);
        let slow_row = pace.estimate(1).is_some_and(|row| row >= LONG);
        if slow_row {
            // Not even one row may pass before the caller is asked: it only watches, and others work.
            let workers = pool(self.session.row_threads()).map_err(Failure::Error)?;
            self.lock().working = threads;
            workers.share(threads, || self.work_and_leave(most), || self.wait(watch));
        } else if threads == 1 {
            self.work(most, threads, Some(watch));
        } else {
            // A helper that comes late is not waited for: of short batches the caller may have done everything by then.
            let help = || self.work(most, threads, None);
            Crew::once(&permits, self.session.row_threads(), &help, || self.work(most, threads, Some(watch)));
        }
        let finished = self.finished.into_inner().unwrap_or_else(PoisonError::into_inner);
        match finished.failure {
            Some((_, failure)) => Err(failure),
            // Between two pieces, so that no run could say it.
            None if self.done.into_inner() < self.end => Err(Failure::Error(stopped(self.session))),
            None => Ok(finished.answers),
        }
    }

    /// Largest piece: a fair part of the batch, and short enough to ask the caller between two of them.
    fn most_rows(&self, rows: usize, threads: usize) -> u64 {
        // Whichever is less: one of them may know cold runs only, and pieces that are too small are never the faster.
        let estimate = |rows: u64| {
            let known = [self.session.pace().estimate(rows), self.session.piece_pace().estimate(rows)];
            known.into_iter().flatten().min()
        };
        let by_time = estimate(rows as u64).map_or(1, |time| time.as_nanos() / PIECE_TIME.as_nanos());
        let per_thread = (u64::try_from(by_time).unwrap_or(u64::MAX) / threads as u64).clamp(1, PIECES_PER_THREAD);
        let count = threads as u64 * per_thread;
        let fair = if threads == 1 { rows as u64 } else { (rows as u64).div_ceil(count) };
        let per_glance = |sample: u64| {
            let nanos = estimate(sample)?.as_nanos().max(1);
            u64::try_from(GLANCE.as_nanos().saturating_mul(u128::from(sample)) / nanos).ok()
        };
        fair.min(per_glance(fair).unwrap_or(fair)).max(1)
    }

    fn work_and_leave(&self, most: u64) {
        self.work(most, 1, None);
        self.lock().working -= 1;
        self.idle.notify_all();
    }

    fn work(&self, most: u64, threads: usize, mut watch: Option<&mut Watch<'_>>) {
        let mut glanced = Instant::now();
        while !self.stop.is_stopped() {
            let left = self.end.saturating_sub(self.next.load(Ordering::Relaxed)) as u64;
            // Towards the end, smaller pieces let all threads end together.
            let fair = if threads == 1 { left } else { left.div_ceil(threads as u64) };
            let size = self.size(most.min(left), fair);
            let start = self.next.fetch_add(usize::try_from(size).unwrap_or(usize::MAX), Ordering::Relaxed);
            if start >= self.end {
                break;
            }
            let end = self.end.min(start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)));
            self.piece(start..end);
            if let Some(watch) = &mut watch
                && glanced.elapsed() >= GLANCE
            {
                self.glance(watch);
                glanced = Instant::now();
            }
        }
    }

    /// Rows of the next piece: a fair part, of `most` rows if not of all that are left.
    fn size(&self, most: u64, fair: u64) -> u64 {
        let (pace, block) = (self.session.piece_pace(), self.session.block());
        // A block's rows are computed at once, and more than a block only save calls.
        let most = block.map_or(most, |block| most.max(block)).max(1);
        let least = block.map_or(1, |block| block / LEAST_OF_BLOCK).clamp(1, most);
        // Where few rows take much longer each, one thread is done with all as soon as two are with halves.
        let halves = std::iter::successors(Some(most.min(fair).max(least)), |size| size.checked_mul(2));
        let size = halves.take_while(|size| *size < most).find(|size| pace.is_near_best(*size)).unwrap_or(most);
        match block {
            Some(block) => {
                if size < block {
                    size
                } else {
                    size / block * block
                }
            }
            None => match pace.next_piece(size) {
                size @ ..AT_ONCE => size,
                size => size / AT_ONCE * AT_ONCE,
            },
        }
    }

    /// Watches others work.
    fn wait(&self, watch: &mut Watch<'_>) {
        let mut finished = self.lock();
        while finished.working > 0 {
            finished = self.idle.wait_timeout(finished, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
            drop(finished);
            self.glance(watch);
            finished = self.lock();
        }
    }

    fn glance(&self, watch: &mut Watch<'_>) {
        if !self.stop.is_stopped() && !watch(self.done.load(Ordering::Relaxed) as u64) {
            self.stop.stop();
            self.fail(0, Failure::Error(stopped(self.session)));
        }
    }

    fn piece(&self, range: Range<usize>) {
        let (start, rows, begun) = (range.start, range.len(), Instant::now());
        match run_rows(self.session, self.inputs, self.requests, range, Some(&self.stop)) {
            Ok(values) => {
                self.session.piece_pace().record(rows as u64, begun.elapsed());
                self.done.fetch_add(rows, Ordering::Relaxed);
                // What is in the caller's buffers needs no putting together.
                if values.iter().any(|value| !matches!(value, Value::Written)) {
                    self.lock().answers.push((start, values));
                }
            }
            Err(failure) => {
                self.fail(start, failure);
                self.stop.stop();
            }
        }
    }

    fn fail(&self, start: usize, failure: Failure) {
        let mut finished = self.lock();
        let is_stopped =
            |failure: &Failure| matches!(failure, Failure::Error(error) if error.kind() == ErrorKind::Stopped);
        // Pieces that were stopped because of another one's failure say nothing of their own.
        let is_first = match &finished.failure {
            None => true,
            Some((known, first)) => {
                (start < *known && !is_stopped(&failure)) || is_stopped(first) && !is_stopped(&failure)
            }
        };
        if is_first {
            finished.failure = Some((start, failure));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Finished> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped(session: &Session) -> Error {
    Error::new(ErrorKind::Stopped, session.signature().model(), "the batch was stopped by its caller", "call again")
}

/// Runs the rows of a range; what was asked for with a buffer is in its part of it.
pub(super) fn run_rows(
    session: &Session,
    inputs: &[InputTensor],
    requests: &[OutputRequest],
    range: Range<usize>,
    stop: Option<&Stop>,
) -> std::result::Result<Vec<Value>, Failure> {
    let rows = range.len();
    let cut = |input: &InputTensor| {
        if session.signature().is_row_input(input.index) { input.rows(range.clone()) } else { input.borrowed() }
    };
    let inputs: Option<Vec<InputTensor>> = inputs.iter().map(cut).collect();
    let (Some(inputs), Some(mut parts)) = (inputs, requests_for(requests, &range)) else {
        return Err(Failure::NotByRows);
    };
    let buffers: Vec<OutputRequest> = parts.clone();
    let (mut values, _) = session.execute(&inputs, &mut parts, stop).map_err(Failure::Error)?;
    if settle(&mut values, &buffers, rows) { Ok(values) } else { Err(Failure::NotByRows) }
}

/// One answer per request of the answers to all pieces.
pub(super) fn put_together(mut answers: Vec<(usize, Vec<Value>)>, count: usize) -> Option<Vec<Value>> {
    answers.sort_by_key(|(start, _)| *start);
    let mut columns: Vec<Vec<Value>> = (0..count).map(|_| Vec::with_capacity(answers.len())).collect();
    for (_, values) in answers {
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    columns.into_iter().map(|pieces| if pieces.is_empty() { Some(Value::Written) } else { join(pieces) }).collect()
}
