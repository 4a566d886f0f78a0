use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::digest::Digest;
use crate::engine::{Engine, EngineFacts};
use crate::error::{Error, ErrorKind};
use crate::onnx::ModelFacts;
use crate::options::LoadOptions;
use crate::session::{Origin, ThreadPlan};
use crate::signature::{Dim, Port, Signature};
use crate::tensor::{Buffer, DType, Elements, EngineTensor, OutputBuffer, Shape};
use crate::testing::port;

/// What becomes of the rows of one run.
type Compute = fn(&[f32]) -> Vec<f32>;

/// An engine over `x[N]` that answers `y[N]`, and takes its time.
struct RowEngine {
    signature: Signature,
    compute: Compute,
    per_row: Duration,
    /// Rows of each run, and what ended early.
    runs: Mutex<Vec<usize>>,
    /// Whether it says that it needs no other thread.
    is_alone: AtomicBool,
}

fn numbers(elements: &Elements) -> Vec<f32> {
    let raw = elements.raw().unwrap();
    // SAFETY: the tests' inputs are live arrays of float32.
    #[allow(unsafe_code)]
    let bytes = unsafe { std::slice::from_raw_parts(raw.pointer().as_ptr(), raw.bytes()) };
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect()
}

impl Engine for std::sync::Arc<RowEngine> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], outputs: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        let rows = numbers(&inputs[0].elements);
        self.runs.lock().unwrap().push(rows.len());
        let ends = Instant::now() + self.per_row * u32::try_from(rows.len()).unwrap();
        while Instant::now() < ends {
            std::hint::spin_loop();
            if stop.is_some_and(Stop::is_stopped) {
                return Err(Error::new(ErrorKind::Stopped, "rows", "stopped", "none"));
            }
        }
        if let Some(row) = rows.iter().position(|row| *row < 0.0) {
            return Err(Error::new(ErrorKind::Engine, "rows", format!("{} at {row}", rows[row]), "none"));
        }
        let answer = (self.compute)(&rows);
        let bytes: Vec<u8> = answer.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let value = |request: &OutputRequest| match &request.buffer {
            Some(buffer) if buffer.data.copy_from(&bytes) => Ok(Value::Written),
            Some(_) => Err(Error::new(ErrorKind::Engine, "rows", "shape verification failed", "none")),
            None => Ok(Value::Tensor(EngineTensor {
                dtype: DType::Float32,
                shape: Shape::from_slice(&[i64::try_from(answer.len()).unwrap()]),
                storage: Box::new(bytes.clone()),
            })),
        };
        outputs.iter().map(value).collect()
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn computes_alone(&self) -> bool {
        self.is_alone.load(Ordering::SeqCst)
    }

    fn facts(&self) -> EngineFacts {
        EngineFacts {
            name: "rows",
            version: "0".into(),
            library: "none".into(),
            threads: 1,
            why: "a test".into(),
            kernel: String::new(),
        }
    }
}

fn model(compute: Compute, per_row: Duration, threads: usize, batch: Batch) -> (Session, std::sync::Arc<RowEngine>) {
    let named = |name: &str| -> Port { port(name, &[Dim::Symbol("N".into())]) };
    let signature = Signature::new("rows", vec![named("x")], vec![named("y")]);
    let (runs, is_alone) = (Mutex::default(), AtomicBool::new(false));
    let engine = std::sync::Arc::new(RowEngine { signature, compute, per_row, runs, is_alone });
    let options = LoadOptions { batch, ..LoadOptions::default() };
    let threads = ThreadPlan { intra: 1, rows: threads, why: "a test" };
    let origin = Origin::Bytes(Digest::of_bytes(b"rows"), 4);
    let boxed = Box::new(std::sync::Arc::clone(&engine));
    (Session::new(boxed, options, threads, origin, ModelFacts::default(), Duration::ZERO), engine)
}

fn input(rows: &[f32]) -> InputTensor {
    let mut buffer = Buffer::zeroed(rows.len() * 4);
    let bytes: Vec<u8> = rows.iter().flat_map(|number| number.to_ne_bytes()).collect();
    buffer.as_bytes_mut().copy_from_slice(&bytes);
    let shape = Shape::from_slice(&[i64::try_from(rows.len()).unwrap()]);
    InputTensor { index: 0, shape, elements: Elements::Owned(buffer) }
}

/// Runs with a buffer and without, and gives the answer once both are the same.
fn answer(session: &Session, rows: &[f32]) -> Result<Vec<f32>> {
    let inputs = [input(rows)];
    let without = run(session, &inputs, &mut [OutputRequest { index: 0, buffer: None }], None, &mut |_| true)?;
    let Value::Tensor(tensor) = &without[0] else { panic!("{without:?}") };
    let without: Vec<f32> = tensor.storage.bytes().as_chunks::<4>().0.iter().map(|b| f32::from_ne_bytes(*b)).collect();
    let memory = Elements::Owned(Buffer::zeroed(rows.len() * 4));
    let buffer = Some(OutputBuffer { shape: inputs[0].shape.clone(), data: memory.raw().unwrap() });
    let values = run(session, &inputs, &mut [OutputRequest { index: 0, buffer }], None, &mut |_| true)?;
    match &values[0] {
        Value::Written => assert_eq!(numbers(&memory), without),
        Value::Tensor(_) => {}
        other => panic!("{other:?}"),
    }
    Ok(without)
}

fn rows(count: u16) -> Vec<f32> {
    (0..count).map(f32::from).collect()
}

const PER_ROW: Duration = Duration::from_micros(20);
const DOUBLED: Compute = |rows| rows.iter().map(|row| row * 2.0).collect();
/// Waits once in the process.
const DOUBLED_BUT_COLD: Compute = |rows| {
    static IS_WARM: AtomicBool = AtomicBool::new(false);
    if !IS_WARM.swap(true, Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(300));
    }
    DOUBLED(rows)
};
const CENTRED: Compute = |rows| {
    #[allow(clippy::cast_precision_loss)]
    let mean = rows.iter().sum::<f32>() / rows.len() as f32;
    rows.iter().map(|row| row - mean).collect()
};

#[test]
fn a_cold_first_run_does_not_make_pieces_small() {
    let (session, engine) = model(DOUBLED_BUT_COLD, Duration::from_nanos(100), 1, Batch::Auto);
    assert_eq!(answer(&session, &rows(10_000)).unwrap(), DOUBLED(&rows(10_000)));
    // The first run was of 9 rows, which took 33 ms each: as many as fit between two looks at the caller were none.
    let runs = engine.runs.lock().unwrap();
    assert!(runs.iter().any(|rows| *rows >= 256), "{runs:?}");
}

#[test]
fn every_way_gives_the_serial_answer() {
    for threads in [1, 2, 3] {
        for batch in [Batch::Auto, Batch::Serial, Batch::Rows] {
            let (session, engine) = model(DOUBLED, PER_ROW, threads, batch);
            for count in [0, 1, 2, 15, 16, 17, 100, 1000, 1001, 0, 1] {
                assert_eq!(
                    answer(&session, &rows(count)).unwrap(),
                    DOUBLED(&rows(count)),
                    "{threads} {batch:?} {count}"
                );
            }
            let largest = engine.runs.lock().unwrap().iter().copied().max().unwrap();
            assert!(batch != Batch::Serial || largest == 1001, "{largest}");
            assert!(batch != Batch::Rows || threads == 1 || largest <= 512, "{largest}");
        }
    }
}

#[test]
fn rows_that_depend_on_each_other_stay_together() {
    for threads in [1, 2] {
        let (session, engine) = model(CENTRED, PER_ROW, threads, Batch::Rows);
        for count in [100, 1000, 1001] {
            assert_eq!(answer(&session, &rows(count)).unwrap(), CENTRED(&rows(count)));
        }
        assert_eq!(session.agreement(0), Agreement::Differs);
        assert_eq!(engine.runs.lock().unwrap().last(), Some(&1001), "nothing is tried again");
    }
}

#[test]
fn answers_of_other_sizes_stay_together() {
    let first: Compute = |rows| rows.first().copied().into_iter().collect();
    let (session, _) = model(first, PER_ROW, 2, Batch::Rows);
    for count in [200, 100] {
        assert_eq!(answer(&session, &rows(count)).unwrap(), [0.0]);
    }
}

#[test]
fn the_earliest_failing_row_is_reported() {
    let (session, _) = model(DOUBLED, PER_ROW, 2, Batch::Rows);
    answer(&session, &rows(1000)).unwrap();
    let mut bad = rows(1000);
    (bad[700], bad[200]) = (-7.0, -2.0);
    for _ in 0..5 {
        let error = answer(&session, &bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(error.to_string().contains("-2 at"), "{error}");
    }
    assert_eq!(answer(&session, &rows(1000)).unwrap(), DOUBLED(&rows(1000)));
}

#[test]
fn what_fails_apart_may_work_together() {
    // An engine that refuses rows below zero: alone, the first of these are just that.
    let (session, engine) = model(|rows| if rows.len() < 50 { vec![] } else { DOUBLED(rows) }, PER_ROW, 2, Batch::Rows);
    assert_eq!(answer(&session, &rows(1000)).unwrap(), DOUBLED(&rows(1000)));
    assert_eq!(engine.runs.lock().unwrap().last(), Some(&1000));
    let (session, _) = model(DOUBLED, PER_ROW, 2, Batch::Rows);
    let mut bad = rows(1000);
    bad[3] = -3.0;
    assert!(answer(&session, &bad).unwrap_err().to_string().contains("-3 at 3"), "the error of one run");
    assert_eq!(session.agreement(0), Agreement::Unknown);
    assert_eq!(answer(&session, &rows(1000)).unwrap(), DOUBLED(&rows(1000)));
    assert_eq!(session.agreement(0), Agreement::Agrees);
}

#[test]
fn the_caller_can_watch_and_stop() {
    for (batch, threads) in [(Batch::Serial, 1), (Batch::Rows, 1), (Batch::Rows, 2)] {
        let (session, _) = model(DOUBLED, Duration::from_millis(2), threads, batch);
        let inputs = [input(&rows(500))];
        let mut seen = Vec::new();
        let mut watch = |done| {
            seen.push(done);
            seen.len() < 3
        };
        let ran = run(&session, &inputs, &mut [OutputRequest { index: 0, buffer: None }], None, &mut watch);
        assert_eq!(ran.unwrap_err().kind(), ErrorKind::Stopped);
        assert!(seen.len() == 3 && seen.is_sorted() && *seen.last().unwrap() < 500, "{seen:?}");
    }
}

#[test]
fn runs_end_at_their_deadline() {
    let (millis, long) = (Duration::from_millis, 1000);
    for (batch, threads, count, per_row) in [
        (Batch::Serial, 1, 1, millis(60_000)),
        (Batch::Serial, 1, long, millis(60)),
        (Batch::Rows, 1, long, millis(60)),
        (Batch::Rows, 2, long, millis(60)),
    ] {
        let (session, engine) = model(DOUBLED, per_row, threads, batch);
        let inputs = [input(&rows(count))];
        let run = |seconds| {
            let deadline = crate::deadline::Deadline::after(seconds).unwrap();
            run(&session, &inputs, &mut [OutputRequest { index: 0, buffer: None }], deadline, &mut |_| true)
        };
        let error = run(0.05).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline, "{batch:?} {threads} {count}: {error}");
        assert!(error.to_string().contains("within 50ms"), "{error}");
        let begun = engine.runs.lock().unwrap().len();
        assert_eq!(run(0.0).unwrap_err().kind(), ErrorKind::Deadline);
        assert_eq!(engine.runs.lock().unwrap().len(), begun, "what is over does not begin");
    }
}

#[test]
fn pieces_that_are_done_in_time_are_whole() {
    for threads in [1, 2] {
        let (session, _) = model(DOUBLED, PER_ROW, threads, Batch::Rows);
        let (inputs, expected) = ([input(&rows(1000))], DOUBLED(&rows(1000)));
        // Deadlines before, during and after the batch, however slow the machine is: an answer is whole, or an error.
        let mut outcomes = [0, 0];
        let mut allowed = 0.0;
        while outcomes[0] < 20 {
            let deadline = crate::deadline::Deadline::after(allowed).unwrap();
            allowed = allowed.mul_add(1.05, 5e-4);
            match run(&session, &inputs, &mut [OutputRequest { index: 0, buffer: None }], deadline, &mut |_| true) {
                Ok(values) => {
                    let Value::Tensor(tensor) = &values[0] else { panic!("{values:?}") };
                    let got = tensor.storage.bytes().as_chunks::<4>().0.iter().map(|b| f32::from_ne_bytes(*b));
                    assert_eq!(got.collect::<Vec<f32>>(), expected);
                    outcomes[0] += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Deadline);
                    outcomes[1] += 1;
                }
            }
        }
        assert!(outcomes[1] > 0, "{outcomes:?}");
    }
}

#[test]
fn one_slow_run_is_forgotten() {
    let takes_time: Compute = |rows| {
        if rows[0] > 6.0 {
            std::thread::sleep(Duration::from_millis(40));
        }
        rows.to_vec()
    };
    let (session, _) = model(takes_time, Duration::ZERO, 1, Batch::Auto);
    let score = |row: f32| {
        run(&session, &[input(&[row])], &mut [OutputRequest { index: 0, buffer: None }], None, &mut |_| true).unwrap();
        session.is_slow()
    };
    assert!(score(7.0));
    assert!(score(1.0), "it may be slow again");
    // As many as it takes, on a machine that may be slow itself.
    assert!((0..10_000).any(|_| !score(1.0)));
    assert!(score(7.0));
}

#[test]
fn calls_are_brief_once_they_are_known_to_be() {
    let (session, engine) = model(DOUBLED, PER_ROW, 1, Batch::Auto);
    let takes = |rows: u64, micros: u64| session.pace().record(rows, Duration::from_micros(micros));
    let are_brief = || [1, 2, 20].map(|count| is_brief(&session, &[input(&rows(count))]));
    (0..7).for_each(|_| takes(1, 2));
    engine.is_alone.store(true, Ordering::SeqCst);
    assert_eq!(are_brief(), [false; 3], "too few were seen");
    (0..8).for_each(|_| [1, 2, 20].into_iter().for_each(|rows| takes(rows, 2)));
    assert_eq!(are_brief(), [true, true, false], "so many rows may be pieces");
    engine.is_alone.store(false, Ordering::SeqCst);
    assert_eq!(are_brief(), [false; 3], "others may be waited for");
    engine.is_alone.store(true, Ordering::SeqCst);
    (0..100).for_each(|_| takes(1, 50));
    assert_eq!(are_brief(), [false, true, false]);
}

#[test]
fn calls_are_counted_once() {
    let (session, _) = model(DOUBLED, PER_ROW, 2, Batch::Rows);
    run(&session, &[input(&rows(1000))], &mut [OutputRequest { index: 0, buffer: None }], None, &mut |_| true).unwrap();
    assert_eq!((session.snapshot().calls, session.snapshot().rows), (1, 1000));
}
