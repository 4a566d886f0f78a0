//! ONNX Runtime as an engine: find its library, make a session, run it.

mod elements;
mod extract;
mod failure;
mod library;
mod notices;
mod owned;
mod run;
mod session;

pub use library::{LibrarySearch, Runtime};
pub use session::{ModelSource, OrtEngine};
