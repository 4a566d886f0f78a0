//! What a model file says about itself, found without loading it.

mod decode;
mod features;
mod graph;
mod lists;
mod outline;
mod row_wise;
mod scan;
mod sniff;
mod wire;

pub use decode::{Array, Data, FullConstant, FullDim, FullGraph, FullNode, FullPort};
pub use graph::{Attribute, Constant, Graph, Input, Node};
pub use lists::{Cursor, Element, Elements, List, Source};
pub use outline::{Leave, Outline, Stored};
pub use row_wise::not_row_wise;
pub use scan::{Classes, ExternalData, Format, ModelFacts, scan};
pub use sniff::looks_like;
