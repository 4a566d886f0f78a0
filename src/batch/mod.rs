//! Many rows in one call: as one run, or in pieces on several threads where that gives the same answer sooner.
//!
//! Pieces are right only for models whose rows do not depend on each other. The graph has to prove it (or the caller
//! vouches for it), and real rows have to agree: the first large batch runs some of its rows twice, together and apart.

mod agree;
mod assemble;
mod pieces;
mod watched;

use std::time::{Duration, Instant};

use crate::deadline::{Bound, Deadline};
use crate::error::{ErrorKind, Result};
use crate::options::Batch;
use crate::session::{Agreement, Session};
use crate::stop::Stop;
use crate::tensor::{InputTensor, OutputRequest, Value};
use crate::ways::goes_second;
use pieces::{Failure, Pieces, put_together, run_rows};
use watched::watched;

/// Asked now and then, on the caller's thread, with the number of rows that are done, whether to go on.
pub type Watch<'a> = dyn FnMut(u64) -> bool + 'a;

/// Below this many rows a call is one run, without a look at what it may take.
const FEW_ROWS: u64 = 16;
/// A batch that takes less is not worth waking another thread for: from here on two threads have been faster, by a quarter, where
/// calls follow each other at once and the other CPU does not sleep. Where it does, what both take decides.
const WORTH_SPLITTING: Duration = Duration::from_micros(30);
const SURELY_WORTH_SPLITTING: Duration = Duration::from_millis(10);
/// Calls of about the same number of rows before one run is judged by what they take.
const TRIES_WHOLE: u64 = 3;
/// A run that may take longer is watched from another thread, so that Ctrl-C ends it.
const LONG: Duration = Duration::from_millis(30);
/// A run that takes less is over before another thread could use the time: handing Python's interpreter to it and taking it back
/// takes about as long, and a thread that waits for it much longer to wake.
const BRIEF: Duration = Duration::from_micros(5);
/// Runs of about so many rows before they are known to be brief.
const TRIES_BRIEF: u64 = 8;
/// How often the caller is asked whether to go on: Ctrl-C is answered well within a tenth of a second.
const GLANCE: Duration = Duration::from_millis(20);
/// What the rows that are run twice may take, the first time.
const CHECK_TIME: Duration = Duration::from_millis(10);
/// At least and at most so many rows are run twice.
const CHECK_ROWS: (usize, usize) = (9, 1024);

/// Whether the call is so short, by what others took, that nobody gains from what the caller could give up meanwhile.
pub fn is_brief(session: &Session, inputs: &[InputTensor]) -> bool {
    let rows = session.rows(inputs);
    session.computes_alone()
        && rows < few_rows(session)
        && !session.is_slow()
        && session.pace().known(rows, TRIES_BRIEF).is_some_and(|time| time < BRIEF)
}

/// Runs a call of any number of rows and counts it. At the deadline the run is ended inside the engine.
pub fn run(
    session: &Session,
    inputs: &[InputTensor],
    requests: &mut [OutputRequest],
    deadline: Option<Deadline>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Value>> {
    let exceeded = |deadline: Deadline| deadline.exceeded(session.signature().model());
    if let Some(deadline) = deadline.filter(Deadline::is_over) {
        return Err(exceeded(deadline));
    }
    let rows = session.rows(inputs);
    let ran = if rows < few_rows(session) && !session.is_slow() {
        match deadline {
            None => return session.run(inputs, requests, None),
            Some(_) => session.run(inputs, requests, Some(&*Bound::new(deadline)?)),
        }
    } else {
        session.signature().check_complete(inputs)?;
        let started = Instant::now();
        let ran = run_many(session, inputs, requests, deadline, watch);
        session.record(rows, started.elapsed(), ran.is_ok());
        ran
    };
    match (ran, deadline.filter(Deadline::is_over)) {
        (Err(error), Some(deadline)) if error.kind() == ErrorKind::Stopped => Err(exceeded(deadline)),
        (ran, _) => ran,
    }
}

/// What is too few rows to be looked at. An engine that computes fewer than that at once does much for each, and two of them
/// may gain from two threads.
fn few_rows(session: &Session) -> u64 {
    if session.block().is_some_and(|block| block < FEW_ROWS) { 2 } else { FEW_ROWS }
}

fn run_many(
    session: &Session,
    inputs: &[InputTensor],
    requests: &mut [OutputRequest],
    deadline: Option<Deadline>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Value>> {
    let rows = match session.signature().common_rows(inputs) {
        Some(rows) if may_split(session, requests) && is_worth_splitting(session, rows as u64) => rows,
        _ => return run_whole(session, inputs, requests, deadline, watch),
    };
    match in_pieces(session, inputs, requests, rows, deadline, watch) {
        Ok(values) => Ok(values),
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::Undecided) => run_whole(session, inputs, requests, deadline, watch),
        Err(Failure::NotByRows) => {
            for request in requests.iter() {
                session.note_agreement(request.index, Agreement::Differs);
            }
            run_whole(session, inputs, requests, deadline, watch)
        }
    }
}

/// Whether pieces are faster than one run: by what both took for so many rows, each tried again now and then.
fn is_worth_splitting(session: &Session, rows: u64) -> bool {
    let (whole, split) = (session.pace(), session.split_pace());
    // A few rows only gain from a second thread, and only if each of them takes long.
    if rows < FEW_ROWS && (session.row_threads() == 1 || rows < 2) {
        return false;
    }
    let Some(one_run) = whole.known(rows, TRIES_WHOLE) else {
        // What takes long gains from pieces whatever one run takes, and need not be tried.
        return whole.estimate(rows).is_none_or(|time| time >= SURELY_WORTH_SPLITTING);
    };
    if one_run < WORTH_SPLITTING {
        return false;
    }
    goes_second(whole, split, rows, one_run)
}

/// Whether nothing speaks against pieces for these outputs so far.
fn may_split(session: &Session, requests: &[OutputRequest]) -> bool {
    let is_allowed = |output: usize| match session.options().batch {
        Batch::Serial => false,
        Batch::Rows => true,
        Batch::Auto => session.is_proven(output),
    };
    !requests.is_empty()
        && requests
            .iter()
            .all(|request| session.agreement(request.index) != Agreement::Differs && is_allowed(request.index))
}

fn run_whole(
    session: &Session,
    inputs: &[InputTensor],
    requests: &mut [OutputRequest],
    deadline: Option<Deadline>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Value>> {
    let rows = session.rows(inputs);
    let (values, elapsed) = if is_short(session, rows) {
        match deadline {
            None => session.execute(inputs, requests, None)?,
            Some(_) => session.execute(inputs, requests, Some(&*Bound::new(deadline)?))?,
        }
    } else {
        watched(session, deadline, watch, |stop| session.execute(inputs, requests, Some(stop)))??
    };
    session.pace().record(rows, elapsed);
    Ok(values)
}

/// Whether a run of so many rows is over before anybody wants to stop it. Of a model that has not run to an end yet, only few
/// rows are, and only if no deadline ended what was run.
fn is_short(session: &Session, rows: u64) -> bool {
    session.pace().estimate(rows).map_or(rows < FEW_ROWS && !session.is_slow(), |time| time < LONG)
}

fn in_pieces(
    session: &Session,
    inputs: &[InputTensor],
    requests: &[OutputRequest],
    rows: usize,
    deadline: Option<Deadline>,
    watch: &mut Watch<'_>,
) -> std::result::Result<Vec<Value>, Failure> {
    let mut answers = Vec::new();
    let mut start = 0;
    if requests.iter().any(|request| session.agreement(request.index) == Agreement::Unknown) {
        start = check_rows(session, rows);
        let checked = if is_short(session, start as u64) && session.pace().estimate(1).is_some() {
            let bound = deadline.map(|_| Bound::new(deadline)).transpose().map_err(Failure::Error)?;
            check(session, inputs, requests, start, bound.as_deref())
        } else {
            watched(session, deadline, watch, |stop| check(session, inputs, requests, start, Some(stop)))
                .map_err(Failure::Error)?
        };
        let checked = checked.map_err(|failure| match failure {
            Failure::Error(error) if error.kind() != ErrorKind::Stopped => Failure::Undecided,
            failure => failure,
        });
        answers.push((0, checked?));
    }
    if start < rows {
        let begun = Instant::now();
        answers
            .extend(Pieces::new(session, inputs, requests, start..rows, deadline).map_err(Failure::Error)?.run(watch)?);
        if start == 0 {
            session.split_pace().record(rows as u64, begun.elapsed());
        }
    }
    put_together(answers, requests.len()).ok_or(Failure::NotByRows)
}

/// How many of the first rows are run together and apart.
fn check_rows(session: &Session, rows: usize) -> usize {
    let (least, most) = CHECK_ROWS;
    let row = session.pace().estimate(1).map_or(CHECK_TIME.as_nanos(), |time| time.as_nanos().max(1));
    usize::try_from(CHECK_TIME.as_nanos() / row).unwrap_or(most).clamp(least, most).min(rows)
}

/// Runs the first rows together, and some of them apart: one alone, and an odd number from the middle on, so that neither
/// pairs nor the first row's place can make up for a dependence between rows.
fn check(
    session: &Session,
    inputs: &[InputTensor],
    requests: &[OutputRequest],
    rows: usize,
    stop: Option<&Stop>,
) -> std::result::Result<Vec<Value>, Failure> {
    let plain: Vec<OutputRequest> =
        requests.iter().map(|request| OutputRequest { index: request.index, buffer: None }).collect();
    let begun = Instant::now();
    let together = run_rows(session, inputs, &plain, 0..rows, stop)?;
    let cold = begun.elapsed();
    let last = rows.saturating_sub(1);
    let middle = (rows / 2)..(rows / 2 + ((rows / 4) | 1)).min(rows);
    let mut pace = cold / u32::try_from(rows).unwrap_or(u32::MAX).max(1);
    for range in [last..rows, middle, 0..rows.min(1)] {
        let (start, begun) = (range.start, Instant::now());
        let count = u32::try_from(range.len()).unwrap_or(u32::MAX).max(1);
        let apart = run_rows(session, inputs, &plain, range, stop)?;
        pace = pace.min(begun.elapsed() / count);
        if !together.iter().zip(&apart).all(|(whole, piece)| agree::agree(whole, start, piece)) {
            return Err(Failure::NotByRows);
        }
    }
    // A model's first run may have waited for its file or for memory. What it took for each row would be believed from then
    // on, as only whole runs are counted: batches were cut into pieces of four rows.
    session.pace().record(rows as u64, cold.min(pace * u32::try_from(rows).unwrap_or(u32::MAX)));
    for request in requests {
        session.note_agreement(request.index, Agreement::Agrees);
    }
    let mut together = together;
    let parts = assemble::requests_for(requests, &(0..rows)).ok_or(Failure::NotByRows)?;
    if assemble::settle(&mut together, &parts, rows) { Ok(together) } else { Err(Failure::NotByRows) }
}

#[cfg(test)]
mod tests;
