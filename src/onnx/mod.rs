//! What a model file says about itself, found without loading it.

mod scan;
mod sniff;
mod wire;

pub use scan::{Classes, ExternalData, ModelFacts, Producer, scan};
pub use sniff::looks_like;
