//! How a model is loaded, as plain data: two loads with equal options may share a session.

use crate::error::{Error, ErrorKind, Result};

/// More threads than any machine has; above it the number is taken for a mistake.
const MOST_THREADS: i64 = 1024;

/// Options that change the session a model gets. Part of the registry's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoadOptions {
    /// Threads that one run of the engine may use inside operators (intra-op threads).
    pub threads: usize,
    /// How far the engine may rewrite the graph.
    pub optimization: Optimization,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { threads: 1, optimization: Optimization::All }
    }
}

impl LoadOptions {
    /// Checks `threads` as it comes from a caller; `None` means the default.
    ///
    /// The default is one thread: on the small, quota-bound machines of serverless platforms more intra-op threads
    /// lose (see `docs/decisions/0004-threads.md`).
    pub fn new(threads: Option<i64>, optimization: &str) -> Result<Self> {
        let threads = match threads {
            None => 1,
            Some(threads @ 1..=MOST_THREADS) => usize::try_from(threads).unwrap_or(1),
            Some(threads) => {
                return Err(Error::new(
                    ErrorKind::Option,
                    "option `threads`",
                    format!("got {threads}, expected a whole number from 1 to {MOST_THREADS}"),
                    "leave `threads` out to let glowplug choose",
                ));
            }
        };
        Ok(Self { threads, optimization: Optimization::parse(optimization)? })
    }
}

/// Graph optimisation levels of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Optimization {
    /// The graph as it is.
    Off,
    /// Constant folding and removal of redundant nodes.
    Basic,
    /// Fusions of operators as well.
    Extended,
    /// Memory-layout changes for this machine as well.
    All,
}

impl Optimization {
    const NAMES: [(&'static str, Self); 4] =
        [("off", Self::Off), ("basic", Self::Basic), ("extended", Self::Extended), ("all", Self::All)];

    fn parse(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, level)| *level).ok_or_else(|| {
            Error::new(
                ErrorKind::Option,
                "option `optimization`",
                format!("got {name:?}, expected \"all\", \"extended\", \"basic\" or \"off\""),
                "leave `optimization` out for the fastest warm runs",
            )
        })
    }

    /// The name a user writes.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, level)| *level == self).map_or("all", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let cases = [
            (None, "all", Some((1, Optimization::All))),
            (Some(1), "off", Some((1, Optimization::Off))),
            (Some(1024), "extended", Some((1024, Optimization::Extended))),
            (Some(0), "all", None),
            (Some(-1), "all", None),
            (Some(1025), "all", None),
            (None, "max", None),
            (None, "", None),
        ];
        for (threads, optimization, expected) in cases {
            let got = LoadOptions::new(threads, optimization);
            match expected {
                Some((threads, optimization)) => assert_eq!(got, Ok(LoadOptions { threads, optimization })),
                None => assert_eq!(got.map_err(|error| error.kind()), Err(ErrorKind::Option)),
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for name in ["off", "basic", "extended", "all"] {
            assert_eq!(Optimization::parse(name).map(Optimization::name), Ok(name));
        }
    }
}
