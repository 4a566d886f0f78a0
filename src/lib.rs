//! Fast machine-learning inference for Python serverless functions.
//!
//! The core is plain Rust; the shell for Python is the feature `python`.

pub mod batch;
pub mod classifier;
mod contributions;
pub mod deadline;
pub mod dense;
pub mod digest;
pub mod engine;
pub mod error;
pub mod features;
pub mod fork;
pub mod half;
pub mod json;
pub mod loader;
pub mod lru;
pub mod metrics;
pub mod onnx;
pub mod options;
pub mod pace;
mod probabilities;
pub mod processor;
pub mod registry;
pub mod reload;
pub mod resources;
pub mod rows;
pub mod session;
pub mod signature;
pub mod single_flight;
pub mod source;
pub mod stop;
pub mod tensor;
pub mod threads;
pub mod trees;
mod ways;

#[cfg(test)]
mod testing;

#[cfg(feature = "python")]
mod py;
