//! Sizes of outputs, as far as they can be read off the inputs before a run.

use smallvec::SmallVec;

use super::{Dim, Port};
use crate::tensor::{DType, InputTensor};

/// Where the size of an output's dimension can be read before the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DimSource {
    Fixed(i64),
    /// The sizes of these (input, axis); they must agree.
    Inputs(SmallVec<[(usize, usize); 2]>),
    Unknown,
}

/// Where each dimension of an output comes from; nothing for one that has none, or that the engine has to make.
pub(super) fn dim_sources(output: &Port, inputs: &[Port]) -> Option<Vec<DimSource>> {
    // Strings live in the engine.
    let dims = output.dims().filter(|_| output.dtype() != Some(DType::String))?;
    let source = |dim: &Dim| match dim {
        Dim::Fixed(size) => DimSource::Fixed(*size),
        Dim::Unknown => DimSource::Unknown,
        Dim::Symbol(symbol) => {
            let sites: SmallVec<[(usize, usize); 2]> = inputs
                .iter()
                .enumerate()
                .flat_map(|(index, input)| {
                    input.dims().unwrap_or_default().iter().enumerate().map(move |(axis, dim)| (index, axis, dim))
                })
                .filter(|(_, _, dim)| matches!(dim, Dim::Symbol(name) if name == symbol))
                .map(|(index, axis, _)| (index, axis))
                .collect();
            if sites.is_empty() { DimSource::Unknown } else { DimSource::Inputs(sites) }
        }
    };
    Some(dims.iter().map(source).collect())
}

/// The one size that all of these inputs have.
pub(super) fn agreed_size(sites: &[(usize, usize)], given: &[InputTensor]) -> Option<i64> {
    let mut sizes = sites.iter().filter_map(|(input, axis)| {
        given.iter().find(|tensor| tensor.index == *input).and_then(|tensor| tensor.shape.get(*axis).copied())
    });
    let first = sizes.next()?;
    sizes.all(|size| size == first).then_some(first)
}
