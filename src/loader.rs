//! Joins sources, engines and sessions: what the registry calls to load a model it does not have.

use std::time::Instant;

use crate::engine::Engine;
use crate::engine::ort::{ModelSource, OrtEngine, Runtime};
use crate::error::Result;
use crate::onnx::ModelFacts;
use crate::options::{Batch, LoadOptions};
use crate::registry::{Loader, facts_of_bytes};
use crate::session::{Origin, Session, ThreadPlan};
use crate::source::ModelFile;

/// Loads models into ONNX Runtime.
pub struct OrtLoader {
    /// The opened library.
    pub runtime: &'static Runtime,
}

impl OrtLoader {
    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
        name: &str,
        facts: ModelFacts,
    ) -> Result<impl FnOnce(Origin) -> Session + use<>> {
        let started = Instant::now();
        let threads = plan_threads(options);
        let engine: Box<dyn Engine> =
            Box::new(OrtEngine::new(self.runtime, source, options, threads.intra, name, &facts)?);
        let (options, load_time) = (*options, started.elapsed());
        Ok(move |origin| Session::new(engine, options, threads, origin, facts, load_time))
    }
}

impl Loader for OrtLoader {
    fn load_file(&self, mut file: ModelFile, options: &LoadOptions) -> Result<Session> {
        let facts = std::mem::take(&mut file.facts);
        let name = file.path().display().to_string();
        let make = self.load(ModelSource::File(file.path()), options, &name, facts)?;
        Ok(make(Origin::File(Box::new(file))))
    }

    fn load_bytes(&self, bytes: &[u8], origin: Origin, options: &LoadOptions) -> Result<Session> {
        let facts = facts_of_bytes(bytes)?;
        let make = self.load(ModelSource::Bytes(bytes), options, "model bytes", facts)?;
        Ok(make(origin))
    }
}

/// How the threads of a call are used: for rows where they are independent, inside operators where they are not; never both.
fn plan_threads(options: &LoadOptions) -> ThreadPlan {
    let usable = options.threads;
    match options.batch {
        _ if usable == 1 => ThreadPlan { intra: 1, rows: 1, why: "one usable CPU" },
        Batch::Serial => ThreadPlan { intra: usable, rows: 1, why: "batches are not split" },
        Batch::Auto | Batch::Rows => ThreadPlan { intra: 1, rows: usable, why: "rows are independent" },
    }
}
