//! One run: where outputs are written, and what is learned of them for the next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Session;
use crate::error::{Error, ErrorKind, Result, without_panic};
use crate::signature::{Port, Signature};
use crate::stop::Stop;
use crate::tensor::{InputTensor, OutputBuffer, OutputRequest, Shape, Value};

/// What is known of the first dimension of an output that the model does not name.
const ROWS_UNKNOWN: u8 = 0;
/// It was the number of input rows so far.
const ROWS_AS_INPUT: u8 = 1;
/// It is not the number of input rows, or the engine did not accept a buffer for this output.
const ROWS_NEVER: u8 = 2;

/// What buffers are filled with to see whether they are written: an unlikely number in every dtype.
const UNWRITTEN: u8 = 0xA5;

impl Session {
    /// The shape of an output, where `inputs` determine it.
    pub fn output_shape(&self, inputs: &[InputTensor], index: usize) -> Option<Shape> {
        let rows = match self.output_rows[index].load(Ordering::Relaxed) {
            ROWS_NEVER => return None,
            ROWS_AS_INPUT => Some(rows_of(inputs)),
            _ => None,
        };
        self.signature().output_shape(index, inputs, rows)
    }

    /// Runs the model; `requests` name the wanted outputs, with buffers where [`Self::output_shape`] gave a shape.
    ///
    /// An output whose shape turns out otherwise than declared comes back as a value, and gets no buffer from then on.
    pub fn run(
        &self,
        inputs: &[InputTensor],
        requests: &mut [OutputRequest],
        stop: Option<&Stop>,
    ) -> Result<Vec<Value>> {
        self.signature().check_complete(inputs)?;
        let started = Instant::now();
        let ran = self.execute_since(started, inputs, requests, stop);
        let (elapsed, ran) = ran.map_or_else(|error| (Duration::ZERO, Err(error)), |(values, time)| (time, Ok(values)));
        if ran.is_ok() {
            self.pace.record(self.rows(inputs), elapsed);
        }
        self.record(self.rows(inputs), elapsed, ran.is_ok());
        ran
    }

    /// Counts a call.
    pub fn record(&self, rows: u64, elapsed: Duration, is_ok: bool) {
        if is_ok { self.metrics.record_run(rows, elapsed) } else { self.metrics.record_error() }
    }

    /// Runs without counting the call, of which this may be a part, and says what it took. Inputs are complete.
    pub fn execute(
        &self,
        inputs: &[InputTensor],
        requests: &mut [OutputRequest],
        stop: Option<&Stop>,
    ) -> Result<(Vec<Value>, Duration)> {
        self.execute_since(Instant::now(), inputs, requests, stop)
    }

    fn execute_since(
        &self,
        started: Instant,
        inputs: &[InputTensor],
        requests: &mut [OutputRequest],
        stop: Option<&Stop>,
    ) -> Result<(Vec<Value>, Duration)> {
        let _running = Running::new(&self.running);
        let unproven = self.mark_unproven(requests);
        let mut ran = self.run_engine(inputs, requests, stop);
        if ran.is_ok() && unproven && !self.prove(requests) {
            let unwritten = "an output was not written where it was asked to be";
            ran = Err(Error::new(ErrorKind::Engine, self.signature().model(), unwritten, "report this as a bug"));
        }
        let is_stopped = stop.is_some_and(Stop::is_stopped);
        if ran.is_err() && !is_stopped && requests.iter().any(|request| request.buffer.is_some()) {
            ran = self.run_without_buffers(inputs, requests, stop, ran);
        }
        let elapsed = started.elapsed();
        // Also of runs that failed: what a deadline ended might have gone on for ever.
        self.learn_slowness(elapsed);
        let values = ran?;
        self.learn_rows(inputs, requests, &values);
        Ok((values, elapsed))
    }

    /// A run begins with buffers of its own and ends with them, so one that panics spoils nothing for the next.
    fn run_engine(
        &self,
        inputs: &[InputTensor],
        requests: &mut [OutputRequest],
        stop: Option<&Stop>,
    ) -> Result<Vec<Value>> {
        without_panic(self.signature().model(), || self.engine.run(inputs, requests, stop))
    }

    /// Fills buffers of outputs that were never seen to be written. ONNX Runtime 1.32 leaves the buffer of an output that
    /// no node computes as it is, and says nothing.
    fn mark_unproven(&self, requests: &[OutputRequest]) -> bool {
        let mut any = false;
        for (_, buffer) in self.unproven(requests) {
            buffer.data.fill(UNWRITTEN);
            any = true;
        }
        any
    }

    /// Whether every marked buffer was written; a real answer that looks like the mark only costs another run.
    fn prove(&self, requests: &[OutputRequest]) -> bool {
        let mut all = true;
        for (index, buffer) in self.unproven(requests) {
            let is_written = !buffer.data.is_filled(UNWRITTEN);
            self.writes_buffers[index].store(is_written, Ordering::Relaxed);
            all &= is_written;
        }
        all
    }

    fn unproven<'a>(&'a self, requests: &'a [OutputRequest]) -> impl Iterator<Item = (usize, &'a OutputBuffer)> {
        let buffers = requests.iter().filter_map(|request| Some((request.index, request.buffer.as_ref()?)));
        buffers
            .filter(|(index, buffer)| buffer.data.bytes() > 0 && !self.writes_buffers[*index].load(Ordering::Relaxed))
    }

    /// A declared shape may be wrong, which the engine says only by failing: the answer without buffers decides.
    fn run_without_buffers(
        &self,
        inputs: &[InputTensor],
        requests: &mut [OutputRequest],
        stop: Option<&Stop>,
        failed: Result<Vec<Value>>,
    ) -> Result<Vec<Value>> {
        let buffers: SmallVec<[_; 4]> = requests.iter_mut().map(|request| request.buffer.take()).collect();
        let Ok(values) = self.run_engine(inputs, requests, stop) else { return failed };
        for ((request, buffer), value) in requests.iter().zip(&buffers).zip(&values) {
            let as_expected = match (buffer, value) {
                (Some(buffer), Value::Tensor(tensor)) => buffer.shape == tensor.shape,
                _ => false,
            };
            if buffer.is_some() && !as_expected {
                self.output_rows[request.index].store(ROWS_NEVER, Ordering::Relaxed);
            }
        }
        // If every shape was as expected, the engine does not take buffers for one of these outputs.
        if requests.iter().all(|request| self.output_rows[request.index].load(Ordering::Relaxed) != ROWS_NEVER) {
            for request in requests.iter() {
                self.output_rows[request.index].store(ROWS_NEVER, Ordering::Relaxed);
            }
        }
        Ok(values)
    }

    fn learn_rows(&self, inputs: &[InputTensor], requests: &[OutputRequest], values: &[Value]) {
        for (request, value) in requests.iter().zip(values) {
            let (Value::Tensor(tensor), state) = (value, &self.output_rows[request.index]) else { continue };
            if state.load(Ordering::Relaxed) == ROWS_UNKNOWN && self.signature().has_unnamed_rows(request.index) {
                let as_input = tensor.shape.first() == Some(&rows_of(inputs));
                state.store(if as_input { ROWS_AS_INPUT } else { ROWS_NEVER }, Ordering::Relaxed);
            }
        }
    }
}

/// An output that is an input as well is handed through by the engine, never written.
pub(super) fn first_state(output: &Port, signature: &Signature) -> u8 {
    if signature.inputs().iter().any(|input| input.name == output.name) { ROWS_NEVER } else { ROWS_UNKNOWN }
}

/// First dimension of the first input; a scalar is one row.
pub(super) fn rows_of(inputs: &[InputTensor]) -> i64 {
    inputs.first().and_then(|tensor| tensor.shape.first()).copied().unwrap_or(1)
}

/// Counts a run while it lasts, however it ends.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Dim;
    use crate::tensor::{Buffer, Elements, RawData};
    use crate::testing::{session, unwriting_session};
    use std::ptr::NonNull;

    /// Runs `rows` rows as the shell does; says whether the answer was written into a buffer, and of which shape.
    fn run(session: &Session, rows: i64) -> (bool, Shape) {
        let mut memory = vec![0_f32; 64];
        let mut raw = |bytes: i64| {
            // SAFETY: the memory outlives the run, is large enough for these tests, and the fake engine does not touch it.
            #[allow(unsafe_code)]
            unsafe {
                RawData::new(NonNull::new(memory.as_mut_ptr()).unwrap().cast(), usize::try_from(bytes).unwrap())
            }
        };
        let elements = Elements::Raw(raw(rows * 8));
        let inputs = [InputTensor { index: 0, shape: Shape::from_slice(&[rows, 2]), elements }];
        let expected = session.output_shape(&inputs, 0);
        let buffer = expected.clone().map(|shape| OutputBuffer { data: raw(shape.iter().product::<i64>() * 4), shape });
        let values = session.run(&inputs, &mut [OutputRequest { index: 0, buffer }], None).unwrap();
        match &values[0] {
            Value::Written => (true, expected.unwrap()),
            Value::Tensor(tensor) => (false, tensor.shape.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn named_rows_are_written_in_place_from_the_first_call() {
        let (session, runs) =
            session(&[Dim::Symbol("N".into()), Dim::Fixed(3)], |shape| Shape::from_slice(&[shape[0], 3]));
        for rows in [1, 5, 0] {
            assert_eq!(run(&session, rows), (true, Shape::from_slice(&[rows, 3])));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn unnamed_rows_are_written_in_place_once_learned() {
        let (session, _) = session(&[Dim::Unknown, Dim::Fixed(3)], |shape| Shape::from_slice(&[shape[0], 3]));
        let got: Vec<bool> = [2, 7, 1].map(|rows| run(&session, rows).0).to_vec();
        assert_eq!(got, [false, true, true]);
    }

    #[test]
    fn rows_that_are_not_the_inputs_are_never_guessed_again() {
        // One row in, one out: the guess is made, and proves wrong at the next call, whose answer is right all the same.
        let (session, runs) = session(&[Dim::Unknown, Dim::Fixed(3)], |_| Shape::from_slice(&[1, 3]));
        for rows in [1, 4, 4] {
            assert_eq!(run(&session, rows), (false, Shape::from_slice(&[1, 3])));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 4, "only the wrong guess runs twice");
        assert_eq!(session.snapshot().errors, 0);
    }

    #[test]
    fn a_buffer_that_is_not_written_is_noticed() {
        // The fake engine says that it wrote, and writes only if told to.
        let (session, runs) = unwriting_session(&[Dim::Symbol("N".into()), Dim::Fixed(3)]);
        assert_eq!(run(&session, 2), (false, Shape::from_slice(&[2, 3])));
        assert_eq!(run(&session, 5), (false, Shape::from_slice(&[5, 3])));
        assert_eq!(runs.load(Ordering::SeqCst), 3, "only the first run is repeated");
    }

    #[test]
    fn a_run_that_panics_harms_no_other() {
        let (session, _) = session(&[Dim::Symbol("N".into()), Dim::Fixed(3)], |shape| {
            assert_ne!(shape[0], 3, "a bug");
            Shape::from_slice(&[shape[0], 3])
        });
        let inputs = [InputTensor {
            index: 0,
            shape: Shape::from_slice(&[3, 2]),
            elements: Elements::Owned(Buffer::zeroed(24)),
        }];
        let error = session.run(&inputs, &mut [OutputRequest { index: 0, buffer: None }], None).unwrap_err();
        assert!(error.to_string().contains("a bug"), "{error}");
        assert_eq!((session.snapshot().errors, session.running.load(Ordering::SeqCst)), (1, 0));
        assert!(run(&session, 2).0);
    }

    #[test]
    fn a_lying_declaration_costs_one_more_run_once() {
        let (session, runs) = session(&[Dim::Fixed(9)], |_| Shape::from_slice(&[4]));
        for _ in 0..3 {
            assert_eq!(run(&session, 1), (false, Shape::from_slice(&[4])));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 4);
    }
}
