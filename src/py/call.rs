//! One call with NumPy's arrays: they are read in place, and outputs of a known shape are written into arrays.

use std::sync::Arc;

use numpy::PyUntypedArray;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

use super::value::to_python;
use super::watch::watched;
use super::{array, report};
use crate::deadline::Deadline;
use crate::session::Session;
use crate::tensor::{Elements, InputTensor, OutputRequest, Value};

/// Inputs for which no memory is asked for. They are moved a few times, which is to cost one row little.
const FEW: usize = 1;

/// What one call needs while it runs.
pub(super) struct Call<'py> {
    pub(super) session: Arc<Session>,
    inputs: SmallVec<[InputTensor; FEW]>,
    /// The arrays that `inputs` point into: another thread may take them out of the caller's dict meanwhile.
    _arrays: SmallVec<[Bound<'py, PyAny>; FEW]>,
}

/// The inputs of a session as tensors, or `None` if one has to be converted. `inputs` is an array or a dict of arrays.
pub(super) fn prepare<'py>(
    session: Arc<Session>,
    inputs: &Bound<'py, PyAny>,
    copied: u64,
) -> PyResult<Option<Call<'py>>> {
    let signature = session.signature();
    let (mut tensors, mut arrays) = (SmallVec::<[InputTensor; FEW]>::new(), SmallVec::<[_; FEW]>::new());
    if let Ok(named) = inputs.cast::<PyDict>() {
        tensors.reserve(named.len());
        arrays.reserve(named.len());
        for (name, array) in named {
            let Ok(name) = name.cast::<PyString>() else { return Ok(None) };
            let index = signature.input_index(&name.to_string_lossy())?;
            let Some(tensor) = array::borrow(&array, signature, index)? else { return Ok(None) };
            tensors.push(tensor);
            arrays.push(array);
        }
    } else {
        if !inputs.is_exact_instance_of::<PyUntypedArray>() {
            return Ok(None);
        }
        let index = signature.sole_input()?;
        let Some(tensor) = array::borrow(inputs, signature, index)? else { return Ok(None) };
        tensors.push(tensor);
        arrays.push(inputs.clone());
    }
    let texts = tensors.iter().filter(|tensor| matches!(tensor.elements, Elements::Strings(_))).count() as u64;
    let copied = copied + texts;
    session.metrics().record_inputs((tensors.len() as u64).saturating_sub(copied), copied);
    Ok(Some(Call { session, inputs: tensors, _arrays: arrays }))
}

impl<'py> Call<'py> {
    /// Runs for the wanted outputs; answers come in their order.
    pub(super) fn run(
        &self,
        py: Python<'py>,
        wanted: &[usize],
        deadline: Option<Deadline>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        if let [index] = wanted {
            return Ok(vec![self.run_one(py, *index, deadline, progress)?]);
        }
        if wanted.is_empty() {
            self.session.signature().check_complete(&self.inputs)?;
            return Ok(Vec::new());
        }
        let (mut arrays, mut requests) = (SmallVec::<[_; 4]>::new(), SmallVec::<[OutputRequest; 4]>::new());
        for index in wanted {
            let (request, array) = self.request(py, *index)?;
            requests.push(request);
            arrays.push(array);
        }
        let values = watched(py, &self.session, &self.inputs, &mut requests, deadline, progress)?;
        report::log_notices(py, &self.session)?;
        values.into_iter().zip(arrays).map(|(value, array)| to_python(py, value, array)).collect()
    }

    /// Runs for one output.
    pub(super) fn run_one(
        &self,
        py: Python<'py>,
        index: usize,
        deadline: Option<Deadline>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (request, array) = self.request(py, index)?;
        to_python(py, self.value_of(py, request, deadline, progress)?, array)
    }

    /// Runs for one output that does not become an array as it is.
    pub(super) fn run_alone(
        &self,
        py: Python<'py>,
        index: usize,
        deadline: Option<Deadline>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Value> {
        self.value_of(py, OutputRequest { index, buffer: None }, deadline, progress)
    }

    fn value_of(
        &self,
        py: Python<'py>,
        request: OutputRequest,
        deadline: Option<Deadline>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Value> {
        let value = watched(py, &self.session, &self.inputs, &mut [request], deadline, progress)?.pop();
        report::log_notices(py, &self.session)?;
        Ok(value.unwrap_or(Value::Absent))
    }

    /// Asks for an output; to be written into an array, if its shape is known.
    fn request(&self, py: Python<'py>, index: usize) -> PyResult<(OutputRequest, Option<Bound<'py, PyAny>>)> {
        let shape = self.session.output_shape(&self.inputs, index);
        let (Some(shape), Some(dtype)) = (shape, self.session.signature().outputs()[index].dtype()) else {
            return Ok((OutputRequest { index, buffer: None }, None));
        };
        let (array, buffer) = array::output(py, dtype, shape)?;
        Ok((OutputRequest { index, buffer: Some(buffer) }, Some(array.into_any())))
    }
}
