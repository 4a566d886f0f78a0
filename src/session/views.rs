//! Other answers of the same model.

use std::sync::Arc;

use super::{Origin, Session};
use crate::engine::View;
use crate::error::{Error, ErrorKind, Result, without_panic};
use crate::source::ModelFile;

/// Files of the same content that are remembered: a model has few names, and some go.
const MOST_FILES: usize = 8;

impl Session {
    /// A session of the same inputs whose one output is this; calls of it count as calls of this one.
    pub fn view(&self, view: View) -> Result<Arc<Self>> {
        let known = &self.views[view as usize];
        if let Some(session) = known.load_full() {
            return Ok(session);
        }
        // Two threads at once make it twice: a lock would stay locked in the child of a fork.
        let shared = (Arc::clone(&self.origin), Arc::clone(&self.facts));
        let (metrics, running) = (Arc::clone(&self.metrics), Arc::clone(&self.running));
        let engine = loop {
            let file = self.same_file();
            let read = || self.engine.view(view, file.as_deref().map(ModelFile::path).map_err(Error::clone));
            let engine = without_panic(self.signature().model(), read)?;
            // What was read meanwhile may be half of one model and half of another; then another file may still do.
            if !view.reads_file() || file?.is_unchanged() {
                break engine;
            }
        };
        let made = Self::beside(engine, self.options, self.threads, self.load_time, shared, metrics, running);
        let made = Arc::new(made);
        known.store(Some(Arc::clone(&made)));
        Ok(made)
    }

    /// Notes a file of the same content: what the engine did not keep is read from it.
    pub fn note_file(&self, file: &Arc<ModelFile>) {
        self.files.rcu(|known| {
            let others = known.iter().filter(|other| other.path() != file.path()).cloned();
            let mut files: Vec<_> = others.chain([Arc::clone(file)]).collect();
            files.drain(..files.len().saturating_sub(MOST_FILES));
            files
        });
    }

    /// A file that still has the content.
    fn same_file(&self) -> Result<Arc<ModelFile>> {
        let origin = match &*self.origin {
            Origin::File(file) => Some(Arc::new((**file).clone())),
            Origin::Bytes(..) => None,
        };
        let noted = self.files.load_full();
        if noted.is_empty() && origin.is_none() {
            let problem = "was loaded from bytes, which are not kept, and contributions need what else was in them";
            let fix = "write the bytes to a file, and load its path";
            return Err(Error::new(ErrorKind::ModelRead, self.signature().model(), problem, fix));
        }
        let mut files = noted.iter().rev().cloned().chain(origin);
        files.find(|file| file.is_unchanged()).ok_or_else(|| self.changed())
    }

    fn changed(&self) -> Error {
        let problem = "the file was changed or removed since it was loaded, and contributions need what else is in it";
        let fix = "load the model again; write a new model to another file and rename it over the old one";
        Error::new(ErrorKind::ModelRead, self.signature().model(), problem, fix)
    }
}
