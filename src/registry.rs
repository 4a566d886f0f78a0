//! Finds the session for a model: the same content with the same options is loaded once per process.

mod forgetting;
mod global;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::digest::{Digest, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::fork;
use crate::lru::Lru;
use crate::onnx::ModelFacts;
use crate::options::LoadOptions;
use crate::session::{Origin, Session};
use crate::single_flight::SingleFlight;
use crate::source::{ModelFile, examine_bytes};

/// How often a file that changes while it is being loaded is tried.
const LOAD_TRIES: usize = 3;

/// Makes the session of an opened model. The registry does not know engines.
pub trait Loader: Sync {
    /// A new session of a file.
    fn load_file(&self, file: ModelFile, options: &LoadOptions) -> Result<Session>;
    /// A new session of bytes with this digest.
    fn load_bytes(&self, bytes: &[u8], origin: Origin, options: &LoadOptions) -> Result<Session>;
}

/// A session, and what went wrong if it is an older one than the file asks for.
#[derive(Clone)]
pub struct Loaded {
    /// The session.
    pub session: Arc<Session>,
    /// Why a changed file was not taken; told once for each state of the file.
    pub stale_because: Option<Error>,
}

/// When a path that has been loaded is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recheck {
    /// At every load; a changed file that cannot be loaded is an error.
    Always,
    /// At most once in this time; a changed file that cannot be loaded leaves the old session in place.
    Every(Duration),
}

/// A path as it is written, and the options: hashing and comparing it as text is several times cheaper than as a path, and
/// another spelling of the same path finds the same session by its content.
type Place = (OsString, LoadOptions);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Flight {
    Path(Place),
    Bytes(Digest, LoadOptions),
}

/// The sessions of a process.
pub struct Registry {
    generation: u32,
    state: Mutex<State>,
    flights: SingleFlight<Flight, Result<Arc<Session>>>,
    /// Held while a model is matched with known contents and loaded, so that two paths of one content load it once. It also
    /// keeps loads one after the other: races between concurrent session creations have been reported to ONNX Runtime, and
    /// on small machines two at once are not faster.
    loading: Mutex<()>,
}

#[derive(Default)]
struct State {
    places: HashMap<Place, PlaceState>,
    sessions: Lru<u64, Arc<Session>>,
    next_id: u64,
    budget: Option<u64>,
}

struct PlaceState {
    id: u64,
    /// The file in this place; the session may have been loaded from another of the same content.
    file: Arc<ModelFile>,
    checked: Instant,
    failed: Option<Failure>,
}

/// The state of a file when a reload failed: its stamp, or that there was no file. Only for telling once: a load is tried
/// again every time, because what was missing may be a file of external data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure(Option<Stamp>);

impl Failure {
    /// The state of the file now.
    pub fn now(path: &Path) -> Self {
        Self(Stamp::of(path).ok())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            generation: fork::generation(),
            state: Mutex::default(),
            flights: SingleFlight::default(),
            loading: Mutex::default(),
        }
    }
}

impl Registry {
    /// The session of the model at `path`, loading it if its content is not loaded yet.
    pub fn load_path(
        &self,
        path: &Path,
        options: &LoadOptions,
        recheck: Recheck,
        loader: &dyn Loader,
    ) -> Result<Loaded> {
        let place = (path.as_os_str().to_owned(), *options);
        let known = self.known(&place, recheck);
        if let Some((session, false)) = known {
            session.count_use();
            return Ok(Loaded { session, stale_because: None });
        }
        let loaded = self.flights.run(&Flight::Path(place.clone()), || {
            // Another flight may have landed between the look above and this one.
            match self.known(&place, Recheck::Always) {
                Some((session, false)) => Ok(session),
                _ => self.load_changed(&place, loader),
            }
        });
        match (loaded, known, recheck) {
            (Ok(session), known, _) => {
                session.count_use();
                drop(known);
                self.forget_replaced();
                Ok(Loaded { session, stale_because: None })
            }
            (Err(error), Some((session, true)), Recheck::Every(_)) => {
                let is_news = self.remember_failure(&place);
                Ok(Loaded { session, stale_because: is_news.then_some(error) })
            }
            (Err(error), ..) => Err(error),
        }
    }

    /// The session of a model given as bytes.
    pub fn load_bytes(&self, bytes: &[u8], options: &LoadOptions, loader: &dyn Loader) -> Result<Arc<Session>> {
        let digest = Digest::of_bytes(bytes);
        let session = self.flights.run(&Flight::Bytes(digest, *options), || {
            let _matching = lock(&self.loading);
            if let Some((_, session)) = self.find(options, bytes.len() as u64, |_| false, || Some(digest)) {
                return Ok(session);
            }
            let session = loader.load_bytes(bytes, Origin::Bytes(digest, bytes.len() as u64), options)?;
            Ok(self.insert(Arc::new(session)).1)
        })?;
        session.count_use();
        Ok(session)
    }

    /// All sessions, the most recently used first, with the number of holders besides the registry.
    pub fn sessions(&self) -> Vec<(Arc<Session>, usize)> {
        let state = self.lock();
        state.sessions.iter().map(|(_, session)| (Arc::clone(session), Arc::strong_count(session) - 2)).collect()
    }

    /// The session last loaded for `place`, and whether its file has changed since.
    fn known(&self, place: &Place, recheck: Recheck) -> Option<(Arc<Session>, bool)> {
        let (session, file) = {
            let mut state = self.lock();
            let known = state.places.get_mut(place)?;
            let (id, file, now) = (known.id, Arc::clone(&known.file), Instant::now());
            let is_due = match recheck {
                Recheck::Always => true,
                Recheck::Every(interval) => now.duration_since(known.checked) >= interval,
            };
            if is_due {
                known.checked = now;
            }
            let session = Arc::clone(state.sessions.touch(&id)?);
            if !is_due {
                return Some((session, false));
            }
            (session, file)
        };
        // The file system is asked without the lock: it may be a slow one.
        Some((session, !file.is_unchanged()))
    }

    fn remember_failure(&self, place: &Place) -> bool {
        let failure = Failure::now(Path::new(&place.0));
        match self.lock().places.get_mut(place) {
            Some(known) => known.failed.replace(failure) != Some(failure),
            None => true,
        }
    }

    fn load_changed(&self, place: &Place, loader: &dyn Loader) -> Result<Arc<Session>> {
        let (path, options) = (Path::new(&place.0), &place.1);
        for _ in 0..LOAD_TRIES {
            let file = ModelFile::open(path)?;
            let _matching = lock(&self.loading);
            let same_files = |other: &ModelFile| other.is_same_files(&file) && other.is_unchanged();
            if let Some((id, session)) = self.find(options, file.bytes(), same_files, || file.digest()) {
                self.remember_place(place, id, &session, file);
                return Ok(session);
            }
            let opened = file.clone();
            let loaded = loader.load_file(file, options);
            if !opened.is_unchanged() {
                continue;
            }
            let (id, session) = self.insert(Arc::new(loaded?));
            self.remember_place(place, id, &session, opened);
            return Ok(session);
        }
        let fix = "write the new model to another file and rename it over the old one, which is atomic";
        Err(Error::new(
            ErrorKind::ModelRead,
            path.display().to_string(),
            "keeps changing while it is being loaded",
            fix,
        ))
    }

    /// A session of the same content. Content is compared only where the size is the same, so the first load of a process
    /// and most others hash nothing.
    fn find(
        &self,
        options: &LoadOptions,
        bytes: u64,
        same_files: impl Fn(&ModelFile) -> bool,
        digest: impl FnOnce() -> Option<Digest>,
    ) -> Option<(u64, Arc<Session>)> {
        let candidates: Vec<(u64, Arc<Session>)> = {
            let state = self.lock();
            let fits = |session: &&Arc<Session>| session.options() == options && session.bytes() == bytes;
            state
                .sessions
                .iter()
                .filter(|(_, session)| fits(session))
                .map(|(id, held)| (*id, Arc::clone(held)))
                .collect()
        };
        if candidates.is_empty() {
            return None;
        }
        let by_files = candidates.iter().find(|(_, session)| match session.origin() {
            Origin::File(file) => same_files(file),
            Origin::Bytes(..) => false,
        });
        let found = if let Some(found) = by_files {
            found.clone()
        } else {
            let digest = digest()?;
            candidates.into_iter().find(|(_, session)| session.digest() == Some(digest))?
        };
        self.lock().sessions.touch(&found.0);
        Some(found)
    }

    fn insert(&self, session: Arc<Session>) -> (u64, Arc<Session>) {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let bytes = session.bytes();
        state.sessions.insert(id, Arc::clone(&session), bytes);
        let gone = state.shrink();
        drop(state);
        drop(gone);
        (id, session)
    }

    fn remember_place(&self, place: &Place, id: u64, session: &Session, mut file: ModelFile) {
        // Only its stamps are needed from now on.
        file.facts = ModelFacts::default();
        let file = Arc::new(file);
        session.note_file(&file);
        let known = PlaceState { id, file, checked: Instant::now(), failed: None };
        self.lock().places.insert(place.clone(), known);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Examines bytes and loads them as a file would be.
pub fn facts_of_bytes(bytes: &[u8]) -> Result<ModelFacts> {
    examine_bytes(bytes, "model bytes")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
