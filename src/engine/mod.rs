//! What executes a model: ONNX Runtime, or we ourselves. The rest of the crate knows only this trait.

pub mod native;
pub mod network;
pub mod ort;

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::signature::Signature;
use crate::stop::Stop;
use crate::tensor::{InputTensor, OutputRequest, Value};

/// What a model of trees can answer beside its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Sums of leaves, before they become scores.
    Margin,
    /// The leaf of each tree.
    Leaf,
    /// What each feature adds to the margin.
    Contributions,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Margin, Self::Leaf, Self::Contributions];

    /// What callers name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Margin => "margin",
            Self::Leaf => "leaf",
            Self::Contributions => "contributions",
        }
    }

    /// Whether it takes more of the model than is kept.
    pub fn reads_file(self) -> bool {
        self == Self::Contributions
    }
}

/// A loaded model that can run. Any number of threads may run one engine at once.
pub trait Engine: Send + Sync {
    /// Inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Runs once. Inputs have been checked against the signature; one [`Value`] per request comes back.
    ///
    /// A buffer whose shape turns out wrong is an error, never a partial or misplaced answer.
    ///
    /// `stop` ends it early, with an error.
    fn run(&self, inputs: &[InputTensor], outputs: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>>;

    /// What the engine logged since the last call, each kind of message once.
    fn take_notices(&self) -> Vec<String>;

    /// Whether every row of every output depends on the same row of the inputs alone, by the way it is computed.
    fn has_independent_rows(&self) -> bool {
        false
    }

    /// Whether a run is computed on the caller's thread alone, and waits for no other.
    fn computes_alone(&self) -> bool {
        false
    }

    /// How many rows it computes at once, if it cuts larger runs into such blocks itself.
    fn block(&self) -> Option<usize> {
        None
    }

    /// An engine of the same inputs whose one output is this; it may take time and memory to make. `file` has the model's
    /// content, or says why there is none.
    fn view(&self, view: View, _file: Result<&Path>) -> Result<Box<dyn Engine>> {
        let problem =
            format!("has no `{}`: ONNX Runtime runs it, and gives the outputs of the graph only", view.name());
        let fix = "load the tree library's own file: what `Booster.save_model` wrote, or of an estimator of scikit-learn what \
                   `glowplug.convert.from_sklearn` made";
        Err(Error::new(ErrorKind::Unsupported, self.signature().model(), problem, fix))
    }

    /// Facts for `explain()`.
    fn facts(&self) -> EngineFacts;
}

/// Which engine runs a model and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// The shared library it lives in; empty for our own.
    pub library: String,
    /// Threads one run may use.
    pub threads: usize,
    /// Why it was chosen.
    pub why: String,
    /// How it computes, if that is ours to say.
    pub kernel: String,
}

impl EngineFacts {
    /// Of an engine of our own, whose runs take one thread each.
    fn native(why: &str, kernel: String) -> Self {
        Self {
            name: "native",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            library: String::new(),
            threads: 1,
            why: why.to_owned(),
            kernel,
        }
    }
}
