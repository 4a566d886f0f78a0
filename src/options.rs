//! How a model is loaded, as plain data: two loads with equal options may share a session.

use crate::error::{Error, ErrorKind, Result};

/// More threads than any machine has; above it the number is taken for a mistake.
const MOST_THREADS: i64 = 1024;

/// Options that change the session a model gets. Part of the registry's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoadOptions {
    /// Threads that one call may use.
    pub threads: usize,
    /// What runs the model.
    pub engine: EngineChoice,
    /// How a call of many rows is run.
    pub batch: Batch,
    /// How far the engine may rewrite the graph.
    pub optimization: Optimization,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            engine: EngineChoice::default(),
            batch: Batch::default(),
            optimization: Optimization::default(),
        }
    }
}

impl LoadOptions {
    /// Checks options as they come from a caller.
    pub fn new(threads: i64, engine: &str, batch: &str, optimization: &str) -> Result<Self> {
        let known = usize::try_from(threads).ok().filter(|_| (1..=MOST_THREADS).contains(&threads));
        let threads = known.ok_or_else(|| {
            let problem = format!("got {threads}, expected a whole number from 1 to {MOST_THREADS}");
            Error::new(ErrorKind::Option, "option `threads`", problem, "leave `threads` out to let glowplug choose")
        })?;
        let (engine, batch) = (EngineChoice::parse(engine)?, Batch::parse(batch)?);
        Ok(Self { threads, engine, batch, optimization: Optimization::parse(optimization)? })
    }
}

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EngineChoice {
    /// Our own engine where it knows the whole model, else ONNX Runtime.
    #[default]
    Auto,
    /// Our own engine; what it does not know is an error.
    Native,
    /// ONNX Runtime.
    OnnxRuntime,
}

impl EngineChoice {
    const NAMES: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("native", Self::Native), ("onnxruntime", Self::OnnxRuntime)];

    fn parse(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, engine)| *engine).ok_or_else(|| {
            let problem = format!("got {name:?}, expected \"auto\", \"native\" or \"onnxruntime\"");
            Error::new(ErrorKind::Option, "option `engine`", problem, "leave `engine` out to let glowplug choose")
        })
    }

    /// The name a user writes.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, engine)| *engine == self).map_or("auto", |(name, _)| name)
    }
}

/// How a call of many rows is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Batch {
    /// In pieces where the graph proves that rows do not depend on each other, and that is faster.
    #[default]
    Auto,
    /// As one run of the engine.
    Serial,
    /// In pieces also where the graph proves nothing: the caller vouches for it.
    Rows,
}

impl Batch {
    const NAMES: [(&'static str, Self); 3] = [("auto", Self::Auto), ("serial", Self::Serial), ("rows", Self::Rows)];

    fn parse(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, batch)| *batch).ok_or_else(|| {
            let problem = format!("got {name:?}, expected \"auto\", \"serial\" or \"rows\"");
            Error::new(ErrorKind::Option, "option `batch`", problem, "leave `batch` out to let glowplug choose")
        })
    }

    /// The name a user writes.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, batch)| *batch == self).map_or("auto", |(name, _)| name)
    }
}

/// Graph optimisation levels of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Optimization {
    /// The graph as it is.
    Off,
    /// Constant folding and removal of redundant nodes.
    Basic,
    /// Fusions of operators as well.
    Extended,
    /// Memory-layout changes for this machine as well.
    #[default]
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
        let all = LoadOptions {
            threads: 2,
            engine: EngineChoice::Native,
            batch: Batch::Serial,
            optimization: Optimization::Off,
        };
        let most = LoadOptions { threads: 1024, batch: Batch::Rows, ..LoadOptions::default() };
        let cases = [
            (1, "auto", "auto", "all", Some(LoadOptions::default())),
            (2, "native", "serial", "off", Some(all)),
            (1024, "auto", "rows", "all", Some(most)),
            (0, "auto", "auto", "all", None),
            (-1, "auto", "auto", "all", None),
            (1025, "auto", "auto", "all", None),
            (1, "auto", "auto", "max", None),
            (1, "auto", "auto", "", None),
            (1, "auto", "columns", "all", None),
            (1, "tensorrt", "auto", "all", None),
        ];
        for (threads, engine, batch, optimization, expected) in cases {
            let got = LoadOptions::new(threads, engine, batch, optimization);
            match expected {
                Some(expected) => assert_eq!(got, Ok(expected)),
                None => assert_eq!(got.map_err(|error| error.kind()), Err(ErrorKind::Option)),
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for name in ["off", "basic", "extended", "all"] {
            assert_eq!(Optimization::parse(name).map(Optimization::name), Ok(name));
        }
        for name in ["auto", "native", "onnxruntime"] {
            assert_eq!(EngineChoice::parse(name).map(EngineChoice::name), Ok(name));
        }
        for name in ["auto", "serial", "rows"] {
            assert_eq!(Batch::parse(name).map(Batch::name), Ok(name));
        }
    }
}
