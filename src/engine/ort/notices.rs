//! What the library logs, kept so that each kind of message is passed on once, not once per call.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ::ort::logging::LogLevel;

/// Kinds kept per session; a model that logs more of them is noisy beyond use.
const MOST_KINDS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Read on every call, so that a quiet session takes no lock.
    any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashSet<String>,
    pending: Vec<String>,
}

impl Notices {
    /// Takes a log line. `place` is where in the library it was written, which is what makes its kind.
    ///
    /// Errors are left out: they come back as results.
    pub(super) fn log(&self, level: LogLevel, place: &str, message: &str) {
        if !matches!(level, LogLevel::Warning) {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.seen.len() < MOST_KINDS && inner.seen.insert(place.to_owned()) {
            inner.pending.push(message.trim().to_owned());
            self.any.store(true, Ordering::Release);
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_passed_on_once() {
        let notices = Notices::default();
        for place in ["a.cc:1", "a.cc:1", "b.cc:2", "a.cc:1"] {
            notices.log(LogLevel::Warning, place, "shape differs\n");
        }
        notices.log(LogLevel::Error, "c.cc:3", "failed");
        notices.log(LogLevel::Info, "d.cc:4", "hello");
        assert_eq!(notices.take(), ["shape differs", "shape differs"]);
        notices.log(LogLevel::Warning, "a.cc:1", "shape differs");
        assert!(notices.take().is_empty());
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let notices = Notices::default();
        for line in 0..1000 {
            notices.log(LogLevel::Warning, &line.to_string(), "x");
        }
        assert_eq!(notices.take().len(), MOST_KINDS);
    }
}
