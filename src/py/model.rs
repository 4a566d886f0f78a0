//! The object behind `glowplug.Model`: what runs, without argument policy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use super::call::{Call, prepare};
use super::engine::LOADER;
use super::error::require_numpy;
use super::load::warn_stale;
use super::spec::TensorSpec;
use super::value::to_python;
use super::wanted::Wanted;
use super::watch::deadline;
use super::{json, plain, report};
use crate::classifier::Probabilities;
use crate::error::{Error, ErrorKind};
use crate::features;
use crate::json::{Cost, Method, Terms};
use crate::probabilities;
use crate::reload::SharedModel;
use crate::session::Session;

/// A loaded model. `predict`, `predict_proba` and `run` answer `NotImplemented` where an input has to be converted first,
/// which is `glowplug.inputs`' work.
#[pyclass(frozen, module = "glowplug._core")]
pub(super) struct ModelHandle {
    model: SharedModel,
    /// What the caller asked for; another machine that loads the same model has CPUs of its own.
    threads: Option<i64>,
    /// Names of columns that the caller gave; they belong to the holder, as models of one session may have several.
    features: Option<Arc<[String]>>,
}

/// Rows, and nanoseconds of reading and of running.
type Took = (usize, u64, u64);

fn took(cost: Cost) -> Took {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    (cost.rows, nanos(cost.read), nanos(cost.run))
}

impl ModelHandle {
    /// A handle of `model`; what loading it logged is passed on.
    pub(super) fn announced(py: Python<'_>, model: SharedModel, threads: Option<i64>) -> PyResult<Self> {
        if let Some(session) = model.ready() {
            report::log_notices(py, &session)?;
        }
        Ok(Self { model, threads, features: None })
    }

    /// Names of the columns of the one matrix: those the caller gave, or those of the model's metadata.
    pub(super) fn feature_names<'a>(&'a self, session: &'a Session) -> PyResult<Option<&'a [String]>> {
        let Some(names) = &self.features else { return Ok(features::of_model(session.signature(), session.facts())) };
        // The model may have been reloaded since they were given.
        features::check_count(session.signature(), names)?;
        Ok(Some(names))
    }

    fn score_json<'py>(
        &self,
        body: &Bound<'py, PyAny>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
        most_rows: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, Cost)> {
        let (method, deadline) = (Method::named(method)?, deadline(timeout)?);
        let session = self.asked(body.py(), method)?;
        let terms = Terms { features: self.feature_names(&session)?, method, deadline, most_rows };
        let answer = json::predict(&session, body, &terms)?;
        report::log_notices(body.py(), &session)?;
        Ok(answer)
    }

    fn score_rows<'py>(
        &self,
        rows: &Bound<'py, PyAny>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
        most_rows: usize,
    ) -> PyResult<(Bound<'py, PyAny>, Cost)> {
        let (method, deadline) = (Method::named(method)?, deadline(timeout)?);
        let session = self.asked(rows.py(), method)?;
        let terms = Terms { features: self.feature_names(&session)?, method, deadline, most_rows };
        plain::score(&session, rows, &terms)
    }

    pub(super) fn session(&self, py: Python<'_>) -> PyResult<Arc<Session>> {
        if let Some(session) = self.model.ready() {
            return Ok(session);
        }
        let (session, stale) = py.detach(|| self.model.refresh(&LOADER))?;
        warn_stale(py, stale)?;
        report::log_notices(py, &session)?;
        Ok(session)
    }

    /// The session that a method asks.
    fn asked(&self, py: Python<'_>, method: Method) -> PyResult<Arc<Session>> {
        let session = self.session(py)?;
        let Method::View(view) = method else { return Ok(session) };
        Ok(py.detach(|| session.view(view))?)
    }

    /// The inputs as tensors, or `None` if one has to be converted. `inputs` is an array or a dict of arrays.
    fn prepare<'py>(&self, inputs: &Bound<'py, PyAny>, copied: u64) -> PyResult<Option<Call<'py>>> {
        require_numpy(inputs.py())?;
        prepare(self.session(inputs.py())?, inputs, copied)
    }
}

#[pymethods]
impl ModelHandle {
    /// The first output.
    fn predict<'py>(
        &self,
        inputs: &Bound<'py, PyAny>,
        copied: u64,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, deadline) = (inputs.py(), deadline(timeout)?);
        match self.prepare(inputs, copied)? {
            Some(call) => call.run_one(py, 0, deadline, progress),
            None => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    /// Something else that trees can answer.
    fn view<'py>(
        &self,
        inputs: &Bound<'py, PyAny>,
        view: &str,
        copied: u64,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, deadline) = (inputs.py(), deadline(timeout)?);
        require_numpy(py)?;
        match prepare(self.asked(py, Method::named(view)?)?, inputs, copied)? {
            Some(call) => call.run_one(py, 0, deadline, progress),
            None => Ok(py.NotImplemented().into_bound(py)),
        }
    }

    /// The output with the probabilities, as an array with a column for each class.
    fn predict_proba<'py>(
        &self,
        inputs: &Bound<'py, PyAny>,
        copied: u64,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, deadline) = (inputs.py(), deadline(timeout)?);
        let Some(call) = self.prepare(inputs, copied)? else { return Ok(py.NotImplemented().into_bound(py)) };
        let session = &call.session;
        let source = probabilities::source(session)?;
        if let Probabilities::Matrix(index) = source {
            return call.run_one(py, index, deadline, progress);
        }
        let value = call.run_alone(py, source.output(), deadline, progress)?;
        to_python(py, probabilities::matrix(value, source, session)?, None)
    }

    /// What `method` answers to rows of plain Python, as lists.
    fn predict_rows<'py>(
        &self,
        rows: &Bound<'py, PyAny>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.score_rows(rows, method, timeout, usize::MAX)?.0)
    }

    /// The same for at most so many rows, with what it took.
    fn measured_rows<'py>(
        &self,
        rows: &Bound<'py, PyAny>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
        most_rows: usize,
    ) -> PyResult<(Bound<'py, PyAny>, Took)> {
        self.score_rows(rows, method, timeout, most_rows).map(|(answer, cost)| (answer, took(cost)))
    }

    /// The named outputs, or all, as a dict.
    fn run<'py>(
        &self,
        inputs: &Bound<'py, PyAny>,
        outputs: Option<&Bound<'py, PyAny>>,
        copied: u64,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, deadline) = (inputs.py(), deadline(timeout)?);
        let Some(call) = self.prepare(inputs, copied)? else { return Ok(py.NotImplemented().into_bound(py)) };
        let wanted = Wanted::new(py, outputs, call.session.signature())?;
        let answers = PyDict::new(py);
        for (answer, name) in call.run(py, &wanted.indices, deadline, progress)?.into_iter().zip(&wanted.names) {
            answers.set_item(name, answer)?;
        }
        Ok(answers.into_any())
    }

    /// The answer to a JSON body, as JSON.
    fn predict_json<'py>(
        &self,
        body: &Bound<'py, PyAny>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(self.score_json(body, method, timeout, usize::MAX)?.0)
    }

    /// The same for at most so many rows, with what it took.
    fn measured_json<'py>(
        &self,
        body: &Bound<'py, PyAny>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
        most_rows: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, Took)> {
        self.score_json(body, method, timeout, most_rows).map(|(answer, cost)| (answer, took(cost)))
    }

    /// The answer to a request of the Open Inference Protocol by the model `name`, how many bytes of it are JSON text where
    /// elements of tensors follow, and what it took; `text_length` is the same of the request.
    #[allow(clippy::too_many_arguments)]
    fn infer<'py>(
        &self,
        body: &Bound<'py, PyBytes>,
        text_length: Option<usize>,
        name: &str,
        version: Option<&str>,
        timeout: Option<&Bound<'py, PyAny>>,
        most_rows: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, Option<usize>, Took)> {
        let deadline = deadline(timeout)?;
        let session = self.session(body.py())?;
        let terms = Terms { features: self.feature_names(&session)?, method: Method::Run, deadline, most_rows };
        let (answer, length, cost) = json::infer(&session, body, text_length, (name, version), &terms)?;
        report::log_notices(body.py(), &session)?;
        Ok((answer, length, took(cost)))
    }

    /// Outputs that `infer` has a form for, by their place among all.
    #[getter]
    fn inferable(&self, py: Python<'_>) -> PyResult<Vec<usize>> {
        Ok(crate::json::inferable(&*self.session(py)?))
    }

    /// The answers to bodies, in one run as far as that is the same; an exception in the place of an answer is one body's.
    fn measured_each<'py>(
        &self,
        bodies: &Bound<'py, PyList>,
        method: &str,
        timeout: Option<&Bound<'py, PyAny>>,
        most_rows: usize,
    ) -> PyResult<(Bound<'py, PyList>, Took)> {
        let py = bodies.py();
        let (method, deadline) = (Method::named(method)?, deadline(timeout)?);
        let session = self.asked(py, method)?;
        let terms = Terms { features: self.feature_names(&session)?, method, deadline, most_rows };
        let (answers, cost) = json::predict_each(&session, bodies, &terms)?;
        report::log_notices(py, &session)?;
        Ok((answers, took(cost)))
    }

    /// Inputs, in the model's order.
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let session = self.session(py)?;
        PyTuple::new(py, session.signature().inputs().iter().map(|port| TensorSpec { port: port.clone() }))
    }

    /// Outputs, in the model's order.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let session = self.session(py)?;
        PyTuple::new(py, session.signature().outputs().iter().map(|port| TensorSpec { port: port.clone() }))
    }

    /// The input a bare value means.
    fn sole_input(&self, py: Python<'_>) -> PyResult<TensorSpec> {
        let session = self.session(py)?;
        let index = session.signature().sole_input()?;
        Ok(TensorSpec { port: session.signature().inputs()[index].clone() })
    }

    /// The input of this name.
    fn input(&self, py: Python<'_>, name: &str) -> PyResult<TensorSpec> {
        let session = self.session(py)?;
        let index = session.signature().input_index(name)?;
        Ok(TensorSpec { port: session.signature().inputs()[index].clone() })
    }

    /// Class labels in the order of the columns of `predict_proba`.
    #[getter]
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        report::classes(py, &*self.session(py)?)
    }

    /// What errors call the model.
    #[getter]
    fn name(&self) -> String {
        self.model.path().map_or_else(|| "model bytes".to_owned(), |path| path.display().to_string())
    }

    /// Facts for `Model.explain`.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::explain(py, &*self.session(py)?, self.threads.is_some())
    }

    /// For each output, why its rows may depend on each other; `None` where the graph proves that they do not.
    fn row_dependence(&self, py: Python<'_>) -> PyResult<Vec<(String, Option<String>)>> {
        let session = self.session(py)?;
        let outputs = session.signature().outputs().iter().enumerate();
        Ok(outputs.map(|(index, port)| (port.name.clone(), session.unproven_because(index))).collect())
    }

    /// Counters for `Model.stats`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report::stats(py, &*self.session(py)?)
    }

    /// The content's digest in hexadecimal.
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        self.session(py)?;
        Ok(py.detach(|| self.model.digest())?.to_string())
    }

    /// What another process needs to load the same model: path, threads, engine, batch, optimization, reload.
    fn reference(&self) -> PyResult<(PathBuf, Option<i64>, &'static str, &'static str, &'static str, Option<f64>)> {
        let Some(path) = self.model.path() else {
            let problem = "was loaded from bytes, which a reference cannot carry";
            let fix = "write the bytes to a file, load its path, and pass that model on";
            return Err(Error::new(ErrorKind::ModelRead, "model bytes", problem, fix).into());
        };
        let options = self.model.options();
        let reload = self.model.reload().map(|interval| interval.as_secs_f64());
        let (engine, batch) = (options.engine.name(), options.batch.name());
        Ok((path.clone(), self.threads, engine, batch, options.optimization.name(), reload))
    }

    /// Whether both are the same session.
    fn shares_session_with(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        Ok(Arc::ptr_eq(&self.session(py)?, &other.session(py)?))
    }

    /// Forgets the session in the registry; this handle goes on using it.
    fn unload(&self, py: Python<'_>) -> PyResult<bool> {
        let session = self.session(py)?;
        Ok(py.detach(|| crate::registry::Registry::global().unload(|held| std::ptr::eq(held, &raw const *session))) > 0)
    }

    /// Another handle of the same session, closed on its own.
    fn duplicate(&self) -> Self {
        Self { model: self.model.duplicate(), threads: self.threads, features: self.features.clone() }
    }

    /// Another handle of the same session, with names of its own for the columns of the one matrix.
    fn named(&self, py: Python<'_>, features: Vec<String>) -> PyResult<Self> {
        features::check(self.session(py)?.signature(), &features)?;
        Ok(Self { model: self.model.duplicate(), threads: self.threads, features: Some(features.into()) })
    }

    /// Names of the columns of the one matrix, given or from the model's metadata.
    #[getter]
    fn features(&self, py: Python<'_>) -> PyResult<Option<Vec<String>>> {
        Ok(self.feature_names(&*self.session(py)?)?.map(<[String]>::to_vec))
    }

    /// The names that were given.
    #[getter]
    fn given_features(&self) -> Option<Vec<String>> {
        self.features.as_deref().map(<[String]>::to_vec)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.model.close());
    }

    #[getter]
    fn closed(&self) -> bool {
        self.model.is_closed()
    }
}
