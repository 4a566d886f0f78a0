//! What a caller holds: a source, and the session that stands for it now.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::fork;
use crate::options::LoadOptions;
use crate::registry::{Failure, Loaded, Loader, Recheck, Registry};
use crate::session::Session;

/// The path as the registry knows it: the working folder may change, and another process may have another one.
pub fn absolute(path: PathBuf) -> PathBuf {
    if path.is_absolute() { path } else { std::path::absolute(&path).unwrap_or(path) }
}

/// A model as a caller holds it; all its methods may be called from any thread.
pub struct SharedModel {
    current: ArcSwapOption<Session>,
    /// `None` for a model loaded from bytes.
    path: Option<PathBuf>,
    options: LoadOptions,
    /// How often the file is looked at, if the caller wants reloads.
    reload: Option<Duration>,
    started: Instant,
    /// Nanoseconds after `started` at which the file is looked at next.
    next_check: AtomicU64,
    /// One more than the generation of the process in which a caller looks at the file, 0 if none does: a look that was
    /// under way at a fork does not go on in the child.
    checking: AtomicU64,
    /// The failed reload that was told last, if the registry did not do so.
    told: ArcSwapOption<Failure>,
}

impl SharedModel {
    /// Loads the model at `path`. The second value says why an older session is used, if it is.
    pub fn from_path(
        path: PathBuf,
        options: LoadOptions,
        reload: Option<Duration>,
        loader: &dyn Loader,
    ) -> Result<(Self, Option<Error>)> {
        let path = absolute(path);
        let recheck = reload.map_or(Recheck::Always, Recheck::Every);
        let Loaded { session, stale_because } = Registry::global().load_path(&path, &options, recheck, loader)?;
        Ok((Self::new(session, Some(path), options, reload), stale_because))
    }

    /// Another holder of the same session, closed on its own.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let copy = Self {
            current: ArcSwapOption::from(self.current.load_full()),
            path: self.path.clone(),
            options: self.options,
            reload: self.reload,
            started: Instant::now(),
            next_check: AtomicU64::new(0),
            checking: AtomicU64::new(0),
            told: ArcSwapOption::const_empty(),
        };
        copy.schedule_check();
        copy
    }

    /// Loads a model from bytes.
    pub fn from_bytes(bytes: &[u8], options: LoadOptions, loader: &dyn Loader) -> Result<Self> {
        let session = Registry::global().load_bytes(bytes, &options, loader)?;
        Ok(Self::new(session, None, options, None))
    }

    fn new(session: Arc<Session>, path: Option<PathBuf>, options: LoadOptions, reload: Option<Duration>) -> Self {
        let model = Self {
            current: ArcSwapOption::from(Some(session)),
            path,
            options,
            reload,
            started: Instant::now(),
            next_check: AtomicU64::new(0),
            checking: AtomicU64::new(0),
            told: ArcSwapOption::const_empty(),
        };
        model.schedule_check();
        model
    }

    /// The path it was loaded from.
    pub fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// Its options.
    pub fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// How often its file is looked at.
    pub fn reload(&self) -> Option<Duration> {
        self.reload
    }

    /// The session if it can be used as it is, which is nearly always; otherwise [`Self::refresh`] has to make one.
    pub fn ready(&self) -> Option<Arc<Session>> {
        let session = self.current.load_full()?;
        (session.is_usable_here() && !self.is_check_due()).then_some(session)
    }

    /// The session after looking at the file, or after a fork: it may be a new one. The second value says why an older
    /// session is kept, once for each state of the file.
    pub fn refresh(&self, loader: &dyn Loader) -> Result<(Arc<Session>, Option<Error>)> {
        let session = self.current.load_full().ok_or_else(|| self.closed())?;
        if !session.is_usable_here() {
            return self.load_in_child(&session, loader).map(|session| (session, None));
        }
        let (Some(path), Some(interval)) = (&self.path, self.reload) else { return Ok((session, None)) };
        // One caller looks; the others go on with what there is.
        let here = u64::from(fork::generation()) + 1;
        if self.checking.swap(here, Ordering::Acquire) == here {
            return Ok((session, None));
        }
        let recheck = Recheck::Every(interval);
        let loaded = Registry::global().load_path(path, &self.options, recheck, loader);
        self.schedule_check();
        self.checking.store(0, Ordering::Release);
        match loaded {
            Ok(Loaded { session: newest, stale_because }) => {
                if !Arc::ptr_eq(&newest, &session) {
                    // A close in the meantime wins.
                    drop(self.current.compare_and_swap(&session, Some(Arc::clone(&newest))));
                    drop(session);
                    Registry::global().forget_replaced();
                }
                Ok((newest, stale_because))
            }
            // The registry has forgotten the path, and the file cannot be loaded: the session here still can.
            Err(error) => {
                let failure = Some(Arc::new(Failure::now(path)));
                let told = self.told.swap(failure.clone());
                Ok((session, (told != failure).then_some(error)))
            }
        }
    }

    fn load_in_child(&self, inherited: &Arc<Session>, loader: &dyn Loader) -> Result<Arc<Session>> {
        let Some(path) = &self.path else {
            return Err(Error::new(
                ErrorKind::Engine,
                inherited.signature().model(),
                "was loaded from bytes and was busy, or had threads, when the process forked",
                "load it again in the child, load it from a path, or start workers with the `spawn` method",
            ));
        };
        let loaded = Registry::global().load_path(path, &self.options, Recheck::Always, loader)?;
        drop(self.current.compare_and_swap(inherited, Some(Arc::clone(&loaded.session))));
        Ok(loaded.session)
    }

    /// Gives the session up; it is unloaded if nobody else holds it.
    pub fn close(&self) {
        if let Some(session) = self.current.swap(None) {
            Registry::global().release(session);
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.current.load().is_none()
    }

    /// The digest of its content; an error if the file has changed since it was loaded.
    pub fn digest(&self) -> Result<Digest> {
        let session = self.current.load_full().ok_or_else(|| self.closed())?;
        session.digest().ok_or_else(|| {
            let fix = "load it again, or keep the file as it is while models loaded from it are passed on";
            let problem = "its file has changed or gone since it was loaded, so its content cannot be named";
            Error::new(ErrorKind::ModelRead, session.signature().model(), problem, fix)
        })
    }

    fn closed(&self) -> Error {
        let name = self.path.as_ref().map_or_else(|| "model bytes".to_owned(), |path| path.display().to_string());
        Error::new(ErrorKind::Closed, name, "the model is closed", "load it again with `glowplug.load`")
    }

    fn is_check_due(&self) -> bool {
        self.reload.is_some() && self.elapsed_nanos() >= self.next_check.load(Ordering::Relaxed)
    }

    fn schedule_check(&self) {
        if let Some(interval) = self.reload {
            let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            self.next_check.store(self.elapsed_nanos().saturating_add(interval), Ordering::Relaxed);
        }
    }

    fn elapsed_nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
