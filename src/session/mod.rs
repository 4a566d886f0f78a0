//! One loaded model, shared by every caller in the process.

mod run;
mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::classifier::{self, Probabilities};
use crate::digest::Digest;
pub use crate::engine::View;
use crate::engine::{Engine, EngineFacts};
use crate::fork;
use crate::metrics::{Metrics, Snapshot};
use crate::onnx::{self, Classes, ModelFacts};
use crate::options::LoadOptions;
use crate::pace::Pace;
use crate::signature::Signature;
use crate::source::ModelFile;
use crate::tensor::InputTensor;
use run::{first_state, rows_of};

/// A run that took longer may do so again, and callers want to be able to end it.
const SLOW: Duration = Duration::from_millis(30);
const RUNS_AFTER_SLOW: u32 = 64;

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
    /// For how many runs more it counts that one took long.
    slow: AtomicU32,
    threads: ThreadPlan,
    running: Arc<AtomicUsize>,
    generation: AtomicU32,
    loaded_at: Instant,
    load_time: Duration,
    uses: AtomicU64,
    /// Files that were found to have the same content, the last one last.
    files: ArcSwap<Vec<Arc<ModelFile>>>,
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
            slow: AtomicU32::new(0),
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
            files: ArcSwap::default(),
            views: [const { ArcSwapOption::const_empty() }; View::ALL.len()],
        }
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

    /// Whether a run is computed on the caller's thread alone, and waits for no other.
    pub fn computes_alone(&self) -> bool {
        self.engine.computes_alone()
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

    /// Whether one of the last runs took so long that a caller should not wait blindly, even for a few rows.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed) > 0
    }

    /// One run in a while may be slow that is not usually: the first, a large batch, or when there was no CPU. Runs that come at
    /// the same time may count as one.
    fn learn_slowness(&self, elapsed: Duration) {
        let left = self.slow.load(Ordering::Relaxed);
        if elapsed >= SLOW {
            self.slow.store(RUNS_AFTER_SLOW, Ordering::Relaxed);
        } else if left > 0 {
            self.slow.store(left - 1, Ordering::Relaxed);
        }
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
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_usable_here() {
            // In the child of a fork, destroying the engine would wait for threads that are not there: it is leaked.
            std::mem::forget(Arc::clone(&self.engine));
        }
    }
}
