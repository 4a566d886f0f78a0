//! One loaded model, shared by every caller in the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::classifier::{self, Probabilities};
use crate::digest::Digest;
pub use crate::engine::View;
use crate::engine::{Engine, EngineFacts};
use crate::error::{Error, ErrorKind, Result, without_panic};
use crate::fork;
use crate::metrics::{Metrics, Snapshot};
use crate::onnx::{self, Classes, ModelFacts};
use crate::options::LoadOptions;
use crate::pace::Pace;
use crate::signature::{Port, Signature};
use crate::source::ModelFile;
use crate::stop::Stop;
use crate::tensor::{InputTensor, OutputBuffer, OutputRequest, Shape, Value};

/// What is known of the first dimension of an output that the model does not name.
const ROWS_UNKNOWN: u8 = 0;
/// It was the number of input rows so far.
const ROWS_AS_INPUT: u8 = 1;
/// It is not the number of input rows, or the engine did not accept a buffer for this output.
const ROWS_NEVER: u8 = 2;

/// A run that took longer may do so again, and callers want to be able to end it.
const SLOW: Duration = Duration::from_millis(30);

/// What buffers are filled with to see whether they are written: an unlikely number in every dtype.
const UNWRITTEN: u8 = 0xA5;

/// Whether rows gave the same answers together and apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// It was not tried yet.
    Unknown,
    /// They did.
    Agrees,
    /// They did not: the model has to see all rows of a call at once.
    Differs,
}

/// Threads of a session, decided when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadPlan {
    /// Threads that one run may use inside operators (intra-op threads).
    pub intra: usize,
    /// Threads that the rows of a batch may be shared among.
    pub rows: usize,
    /// Why it is so, in words.
    pub why: &'static str,
}

/// Where a session's model came from.
#[derive(Debug)]
pub enum Origin {
    /// A file and its external data.
    File(Box<ModelFile>),
    /// Bytes that the caller passed; only their digest is kept.
    Bytes(Digest, u64),
}

/// A loaded model.
pub struct Session {
    engine: Arc<dyn Engine>,
    options: LoadOptions,
    origin: Arc<Origin>,
    digest: ArcSwapOption<Option<Digest>>,
    facts: Arc<ModelFacts>,
    probabilities: Option<Probabilities>,
    metrics: Arc<Metrics>,
    output_rows: Vec<AtomicU8>,
    /// Outputs that the engine is known to write into buffers.
    writes_buffers: Vec<AtomicBool>,
    agreement: Vec<AtomicU8>,
    proofs: ArcSwapOption<Vec<Option<String>>>,
    pace: Pace,
    split_pace: Pace,
    piece_pace: Pace,
    /// Whether a run of a few rows took long.
    slow: AtomicBool,
    threads: ThreadPlan,
    running: Arc<AtomicUsize>,
    generation: AtomicU32,
    loaded_at: Instant,
    load_time: Duration,
    uses: AtomicU64,
    /// The last file that was found to have the same content.
    file: ArcSwapOption<ModelFile>,
    /// Sessions that answer something else for the same inputs, made when they are asked for.
    views: [ArcSwapOption<Session>; View::ALL.len()],
}

impl Session {
    /// A session over a loaded engine; `load_time` is what loading took.
    pub fn new(
        engine: Box<dyn Engine>,
        options: LoadOptions,
        threads: ThreadPlan,
        origin: Origin,
        facts: ModelFacts,
        load_time: Duration,
    ) -> Self {
        Self::beside(
            engine,
            options,
            threads,
            load_time,
            (Arc::new(origin), Arc::new(facts)),
            Arc::default(),
            Arc::default(),
        )
    }

    /// The same with what sessions of one model share.
    fn beside(
        engine: Box<dyn Engine>,
        options: LoadOptions,
        threads: ThreadPlan,
        load_time: Duration,
        (origin, facts): (Arc<Origin>, Arc<ModelFacts>),
        metrics: Arc<Metrics>,
        running: Arc<AtomicUsize>,
    ) -> Self {
        let outputs = engine.signature().outputs();
        Self {
            probabilities: classifier::find(outputs, &facts),
            output_rows: outputs.iter().map(|port| AtomicU8::new(first_state(port, engine.signature()))).collect(),
            writes_buffers: outputs.iter().map(|_| AtomicBool::new(false)).collect(),
            agreement: outputs.iter().map(|_| AtomicU8::new(0)).collect(),
            proofs: ArcSwapOption::const_empty(),
            pace: Pace::default(),
            split_pace: Pace::default(),
            piece_pace: Pace::default(),
            slow: AtomicBool::new(false),
            threads,
            engine: Arc::from(engine),
            options,
            origin,
            digest: ArcSwapOption::const_empty(),
            facts,
            metrics,
            running,
            generation: AtomicU32::new(fork::generation()),
            loaded_at: Instant::now(),
            load_time,
            uses: AtomicU64::new(0),
            file: ArcSwapOption::const_empty(),
            views: [const { ArcSwapOption::const_empty() }; View::ALL.len()],
        }
    }

    /// A session of the same inputs whose one output is this; calls of it count as calls of this one.
    pub fn view(&self, view: View) -> Result<Arc<Self>> {
        let known = &self.views[view as usize];
        if let Some(session) = known.load_full() {
            return Ok(session);
        }
        // Two threads at once make it twice: a lock would stay locked in the child of a fork.
        let shared = (Arc::clone(&self.origin), Arc::clone(&self.facts));
        let (metrics, running) = (Arc::clone(&self.metrics), Arc::clone(&self.running));
        let file = self.same_file();
        let read = || self.engine.view(view, file.as_deref().map(ModelFile::path).map_err(Error::clone));
        let engine = without_panic(self.signature().model(), read)?;
        // What was read meanwhile may be half of one model and half of another.
        if view.reads_file() && !file.is_ok_and(|file| file.is_unchanged()) {
            return Err(self.changed());
        }
        let made = Self::beside(engine, self.options, self.threads, self.load_time, shared, metrics, running);
        let made = Arc::new(made);
        known.store(Some(Arc::clone(&made)));
        Ok(made)
    }

    /// Notes a file of the same content: what the engine did not keep is read from it.
    pub fn note_file(&self, file: Arc<ModelFile>) {
        self.file.store(Some(file));
    }

    /// A file that still has the content.
    fn same_file(&self) -> Result<Arc<ModelFile>> {
        let origin = match &*self.origin {
            Origin::File(file) => Some(Arc::new((**file).clone())),
            Origin::Bytes(..) => None,
        };
        let files = [self.file.load_full(), origin];
        if files.iter().all(Option::is_none) {
            let problem = "was loaded from bytes, which are not kept, and contributions need what else was in them";
            let fix = "write the bytes to a file, and load its path";
            return Err(Error::new(ErrorKind::ModelRead, self.signature().model(), problem, fix));
        }
        files.into_iter().flatten().find(|file| file.is_unchanged()).ok_or_else(|| self.changed())
    }

    fn changed(&self) -> Error {
        let problem = "the file was changed or removed since it was loaded, and contributions need what else is in it";
        let fix = "load the model again; write a new model to another file and rename it over the old one";
        Error::new(ErrorKind::ModelRead, self.signature().model(), problem, fix)
    }

    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    /// How it was loaded.
    pub fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the file says of itself.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// Where the probabilities are among the outputs.
    pub fn probabilities(&self) -> Option<Probabilities> {
        self.probabilities
    }

    /// Class labels in the order of the columns of the probabilities.
    pub fn classes(&self) -> Option<&Classes> {
        classifier::classes(&self.facts)
    }

    /// What runs it.
    pub fn engine_facts(&self) -> EngineFacts {
        self.engine.facts()
    }

    /// What the engine logged since the last call.
    pub fn take_notices(&self) -> Vec<String> {
        self.engine.take_notices()
    }

    /// Its threads.
    pub fn threads(&self) -> ThreadPlan {
        self.threads
    }

    /// Threads that the rows of a batch may be shared among.
    pub fn row_threads(&self) -> usize {
        self.threads.rows
    }

    /// How many rows the engine computes at once, if it has a mind of its own about it.
    pub fn block(&self) -> Option<u64> {
        self.engine.block().map(|rows| rows as u64)
    }

    /// What calls took that were one run.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What calls took that were run in pieces.
    pub fn split_pace(&self) -> &Pace {
        &self.split_pace
    }

    /// What pieces of larger calls took. They are kept apart from calls, which may score the same few rows again and again.
    pub fn piece_pace(&self) -> &Pace {
        &self.piece_pace
    }

    /// Whether even a few rows took so long that a caller should not wait blindly.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Number of rows of a call.
    #[allow(clippy::unused_self)]
    pub fn rows(&self, inputs: &[InputTensor]) -> u64 {
        u64::try_from(rows_of(inputs)).unwrap_or(0)
    }

    /// Whether rows gave the same answers for an output together and apart.
    pub fn agreement(&self, output: usize) -> Agreement {
        match self.agreement[output].load(Ordering::Relaxed) {
            0 => Agreement::Unknown,
            1 => Agreement::Agrees,
            _ => Agreement::Differs,
        }
    }

    /// Notes what was found; once rows have differed, nothing makes up for it.
    pub fn note_agreement(&self, output: usize, found: Agreement) {
        self.agreement[output].fetch_max(found as u8, Ordering::Relaxed);
    }

    /// Why the graph does not prove that an output's rows depend on the inputs' same rows alone; `None` if it does.
    pub fn unproven_because(&self, output: usize) -> Option<String> {
        self.proofs().get(output).cloned().flatten()
    }

    /// Whether the graph proves that an output's rows depend on the inputs' same rows alone.
    pub fn is_proven(&self, output: usize) -> bool {
        self.proofs().get(output).is_some_and(Option::is_none)
    }

    /// For each output what is missing in the proof; found the first time it is asked for.
    fn proofs(&self) -> Arc<Vec<Option<String>>> {
        // Two threads at once look twice: a lock would stay locked in the child of a fork.
        if let Some(known) = self.proofs.load_full() {
            return known;
        }
        let outputs: Vec<&str> = self.signature().outputs().iter().map(|port| port.name.as_str()).collect();
        let found = if self.engine.has_independent_rows() {
            vec![None; outputs.len()]
        } else if self.facts.has_graph {
            onnx::not_row_wise(&self.facts.graph, &self.facts.opsets, &outputs)
        } else {
            vec![Some("the file has no graph in ONNX format to look at".to_owned()); outputs.len()]
        };
        let found = Arc::new(found);
        self.proofs.store(Some(Arc::clone(&found)));
        found
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counters at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.metrics.snapshot()
    }

    /// Size of the model and its external data, the estimate of what the session holds in memory.
    pub fn bytes(&self) -> u64 {
        match &*self.origin {
            Origin::File(file) => file.bytes(),
            Origin::Bytes(_, bytes) => *bytes,
        }
    }

    /// Its content's digest, computed the first time; `None` if the file was changed or removed since it was loaded.
    pub fn digest(&self) -> Option<Digest> {
        // Two threads at once compute it twice: a lock would stay locked in the child of a fork.
        if let Some(known) = self.digest.load().as_deref() {
            return *known;
        }
        let digest = match &*self.origin {
            Origin::File(file) => file.digest(),
            Origin::Bytes(digest, _) => Some(*digest),
        };
        self.digest.store(Some(Arc::new(digest)));
        digest
    }

    /// How long ago it was loaded.
    pub fn age(&self) -> Duration {
        self.loaded_at.elapsed()
    }

    /// What loading it took.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// How often `load` gave it out.
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Counts that `load` gave it out.
    pub fn count_use(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this process may run it: it was made here, or was idle and without threads of its own when the process
    /// forked, so that nothing in it waits for a thread or lock that the fork left behind.
    pub fn is_usable_here(&self) -> bool {
        let (made, now) = (self.generation.load(Ordering::Relaxed), fork::generation());
        if made == now {
            return true;
        }
        let is_whole = self.threads.intra == 1 && self.running.load(Ordering::Relaxed) == 0;
        if is_whole {
            self.generation.store(now, Ordering::Relaxed);
        }
        is_whole
    }

    /// Shapes of the wanted outputs, where `inputs` determine them.
    pub fn output_shapes(&self, inputs: &[InputTensor], wanted: &[usize]) -> SmallVec<[Option<Shape>; 4]> {
        let shape = |index: &usize| {
            let rows = match self.output_rows[*index].load(Ordering::Relaxed) {
                ROWS_NEVER => return None,
                ROWS_AS_INPUT => Some(rows_of(inputs)),
                _ => None,
            };
            self.signature().output_shape(*index, inputs, rows)
        };
        wanted.iter().map(shape).collect()
    }

    /// Runs the model; `requests` name the wanted outputs, with buffers where [`Self::output_shapes`] gave a shape.
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
        let values = ran?;
        let elapsed = started.elapsed();
        self.learn_rows(inputs, requests, &values);
        if elapsed >= SLOW {
            self.slow.store(true, Ordering::Relaxed);
        }
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
fn first_state(output: &Port, signature: &Signature) -> u8 {
    if signature.inputs().iter().any(|input| input.name == output.name) { ROWS_NEVER } else { ROWS_UNKNOWN }
}

/// First dimension of the first input; a scalar is one row.
fn rows_of(inputs: &[InputTensor]) -> i64 {
    inputs.first().and_then(|tensor| tensor.shape.first()).copied().unwrap_or(1)
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_usable_here() {
            // In the child of a fork, destroying the engine would wait for threads that are not there: it is leaked.
            std::mem::forget(Arc::clone(&self.engine));
        }
    }
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
        let expected = session.output_shapes(&inputs, &[0]).remove(0);
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
