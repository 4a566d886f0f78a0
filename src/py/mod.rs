//! The shell for Python: extract arguments, leave the interpreter, run the core, wrap the answer.

// Extracted arguments are owned: that is how PyO3 hands them over.
#![allow(clippy::needless_pass_by_value)]

mod array;
mod call;
mod engine;
mod error;
mod interpreter;
mod json;
mod lists;
mod load;
mod model;
mod plain;
mod report;
mod resources;
mod rows;
mod scalar;
mod spec;
mod value;
mod wanted;
mod watch;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::interpreter::claim(module.py())
    }

    #[pymodule_export]
    use super::load::{load_bytes, load_path};
    #[pymodule_export]
    use super::model::ModelHandle;
    #[pymodule_export]
    use super::report::{configure, models, unload_path};
    #[pymodule_export]
    use super::resources::{park, usable_resources};
    #[pymodule_export]
    use super::spec::TensorSpec;

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
