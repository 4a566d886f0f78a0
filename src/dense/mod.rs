//! Dense float32 arithmetic of networks: products with packed weights, and what stands between them.
//!
//! **One answer.** Every element of a product is one chain of fused multiply-adds over the depth, in order, that starts with
//! its bias; every reduction has sixteen partial sums that are joined in a fixed order; every function is the same sequence
//! of operations that IEEE 754 defines. So the bits of an element do not depend on the rows beside it, on how a batch is cut,
//! on threads, or on the width of vectors.

mod instructions;
mod maps;
mod panels;
mod product;
mod reduce;
mod target;
mod tile;

pub use instructions::Instructions;
pub use maps::{Binary, Unary};
pub use panels::{Packing, Panels};
pub use product::{Finish, Operand};
pub use reduce::Reduction;
pub use target::Target;

#[cfg(test)]
mod tests;
