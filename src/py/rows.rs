//! Rows of plain Python objects, read into the inputs of a run without an array between.

use std::fmt::Display;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyIterator, PyList, PyString, PyTuple};

use super::error::GlowplugError;
use super::scalar;
use crate::error::{Error, ErrorKind};
use crate::json::Terms;
use crate::rows::{Records, RowsBuilder, Scalar};
use crate::signature::Signature;
use crate::tensor::InputTensor;

/// Lists deeper than any tensor's rank are somebody's mistake, such as a list that holds itself.
const MOST_NESTED: usize = 64;
/// Rows between looks at pending signals, some milliseconds.
const ROWS_UNINTERRUPTED: usize = 4096;

/// The inputs that `rows` make; `None` if there are no rows.
pub(super) fn read(
    rows: &Bound<'_, PyAny>,
    signature: &Signature,
    terms: &Terms<'_>,
) -> PyResult<Option<Vec<InputTensor>>> {
    if let Some(records) = Records::new(signature)
        && let Some(inputs) = read_records(rows, records, terms.most_rows)?
    {
        return Ok(Some(inputs));
    }
    let features = terms.features;
    let builder = RowsBuilder::new(signature, features)?.at_most(terms.most_rows);
    let mut reader = Reader { builder, model: signature.model(), features, dicts: 0, keys: Vec::new() };
    reader.rows(rows).map_err(|error| reader.noted(rows.py(), error))?;
    if reader.builder.rows() == 0 {
        return Ok(None);
    }
    Ok(Some(reader.builder.finish()?))
}

/// The inputs, if `rows` is a list of dicts with one value of Python's own types for each input: nothing of that runs code
/// of Python's, and what is not taken can be read again.
fn read_records(
    rows: &Bound<'_, PyAny>,
    mut records: Records<'_>,
    most_rows: usize,
) -> PyResult<Option<Vec<InputTensor>>> {
    let Ok(rows) = rows.cast_exact::<PyList>() else { return Ok(None) };
    let mut items = Items::List(rows, 0);
    while let Some(row) = items.next() {
        let row = row?;
        let Ok(row) = row.cast_exact::<PyDict>() else { return Ok(None) };
        if !take_record(row, &mut records).unwrap_or(false) || records.rows() > most_rows {
            return Ok(None);
        }
        if records.rows().is_multiple_of(ROWS_UNINTERRUPTED) {
            rows.py().check_signals()?;
        }
    }
    Ok((records.rows() > 0).then(|| records.finish()))
}

fn take_record(row: &Bound<'_, PyDict>, records: &mut Records<'_>) -> PyResult<bool> {
    // Not PyO3's own iterator of a dict, which panics if another thread adds a key meanwhile.
    for name in row.try_iter()? {
        let name = name?;
        let Ok(text) = name.cast_exact::<PyString>() else { return Ok(false) };
        if !text.to_str().is_ok_and(|text| records.key(text)) {
            return Ok(false);
        }
        let Some(value) = row.get_item(&name)? else { return Ok(false) };
        let is_taken = if let Ok(number) = value.cast_exact::<PyFloat>() {
            records.scalar(Scalar::Float(number.value()))
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            text.to_str().is_ok_and(|text| records.scalar(Scalar::Text(text)))
        } else if let Ok(number) = value.cast_exact::<PyInt>() {
            records.scalar(scalar::whole(number)?)
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            records.scalar(Scalar::Bool(truth.is_true()))
        } else {
            value.is_none() && records.scalar(Scalar::Null)
        };
        if !is_taken {
            return Ok(false);
        }
    }
    Ok(records.end_row())
}

struct Reader<'a, 'py> {
    builder: RowsBuilder<'a>,
    model: &'a str,
    features: Option<&'a [String]>,
    /// How many rows were dicts.
    dicts: usize,
    /// The features as Python's strings, once they are worth making.
    keys: Vec<Bound<'py, PyString>>,
}

impl<'py> Reader<'_, 'py> {
    fn rows(&mut self, rows: &Bound<'py, PyAny>) -> PyResult<()> {
        let is_text = rows.is_instance_of::<PyString>() || rows.is_instance_of::<PyBytes>();
        let mut items = match Items::of(rows)? {
            Some(Items::Any(_)) if is_text || is_mapping(rows)? => return Err(self.not_rows(rows)),
            Some(items) => items,
            None => return Err(self.not_rows(rows)),
        };
        let mut count = 0_usize;
        while let Some(row) = items.next() {
            self.row(&row?)?;
            count += 1;
            if count.is_multiple_of(ROWS_UNINTERRUPTED) {
                rows.py().check_signals()?;
            }
        }
        Ok(())
    }

    fn row(&mut self, row: &Bound<'py, PyAny>) -> PyResult<()> {
        // Rows of Python's own floats, which nearly all are, run no code of Python's and are taken at once.
        let is_taken = if let Ok(list) = row.cast_exact::<PyList>() {
            let count = list.len();
            let values = (0..count).map(|index| scalar::plain_float(&list.get_item(index).ok()?));
            self.builder.float_row(count, values)?
        } else if let Ok(tuple) = row.cast_exact::<PyTuple>() {
            self.builder.float_row(tuple.len(), tuple.iter_borrowed().map(|value| scalar::plain_float(&value)))?
        } else if let Ok(dict) = row.cast_exact::<PyDict>() {
            self.float_dict(dict)?
        } else {
            false
        };
        if is_taken { Ok(()) } else { self.value(row, 0) }
    }

    /// Looks the features up in their order rather than the names of the row in its own.
    fn float_dict(&mut self, row: &Bound<'py, PyDict>) -> PyResult<bool> {
        let Some(features) = self.features.filter(|features| features.len() == row.len()) else { return Ok(false) };
        self.dicts += 1;
        if self.dicts == 1 {
            // For one row the keys would cost more than they save.
            return Ok(false);
        }
        if self.keys.is_empty() {
            // Names in Python code are interned, and the same object is found at once.
            self.keys = features.iter().map(|name| PyString::intern(row.py(), name)).collect();
        }
        let values = self.keys.iter().map(|key| scalar::plain_float(&row.get_item(key).ok()??));
        Ok(self.builder.float_row(features.len(), values)?)
    }

    /// A row, or what it holds: a scalar, a sequence or a mapping. Python's own types come first, by identity.
    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            self.builder.scalar(Scalar::Float(number.value()))?;
        } else if let Ok(number) = value.cast_exact::<PyInt>() {
            self.builder.scalar(scalar::whole(number)?)?;
        } else if value.is_exact_instance_of::<PyList>() || value.is_exact_instance_of::<PyTuple>() {
            self.list(value, depth)?;
        } else if let Ok(text) = value.cast::<PyString>() {
            let text = text.to_str().map_err(|error| self.not_unicode(&error))?;
            self.builder.scalar(Scalar::Text(text))?;
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            self.builder.scalar(Scalar::Bool(truth.is_true()))?;
        } else if value.is_none() {
            self.builder.scalar(Scalar::Null)?;
        } else if value.is_exact_instance_of::<PyDict>() {
            self.mapping(value, depth)?;
        } else {
            self.other(value, depth)?;
        }
        Ok(())
    }

    /// What is of no type of Python's own.
    fn other(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            let text = std::str::from_utf8(bytes.as_bytes()).map_err(|error| self.not_unicode(&error))?;
            return Ok(self.builder.scalar(Scalar::Text(text))?);
        }
        // An array of any rank offers `__float__`, and says only when asked whether it is one number.
        let is_number = scalar::is_number(value)?;
        let is_plain = is_number && !value.hasattr(intern!(value.py(), "__iter__"))?;
        if !is_plain && is_mapping(value)? {
            return self.mapping(value, depth);
        }
        if !is_plain && self.list(value, depth)? {
            return Ok(());
        }
        match if is_number { scalar::read(value)? } else { None } {
            Some(number) => Ok(self.builder.scalar(number)?),
            None => Err(self.refused(value)),
        }
    }

    /// Says whether `values` can be iterated at all.
    fn list(&mut self, values: &Bound<'_, PyAny>, depth: usize) -> PyResult<bool> {
        let Some(mut items) = Items::of(values)? else { return Ok(false) };
        self.check_depth(depth)?;
        self.builder.begin_list()?;
        while let Some(item) = items.next() {
            self.value(&item?, depth + 1)?;
        }
        self.builder.end_list()?;
        Ok(true)
    }

    fn mapping(&mut self, mapping: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        self.check_depth(depth)?;
        self.builder.begin_object()?;
        // Not PyO3's own iterator of a dict, which panics if another thread adds a key meanwhile.
        let is_dict = mapping.is_exact_instance_of::<PyDict>();
        let keys = if is_dict { mapping.clone() } else { mapping.call_method0(intern!(mapping.py(), "keys"))? };
        for key in keys.try_iter()? {
            let key = key?;
            let Ok(name) = key.cast::<PyString>() else {
                let problem = format!("got {} as a name, expected a str", shown(&key));
                return Err(self.error(ErrorKind::InputType, &problem, "use names of features or inputs as keys"));
            };
            self.builder.key(name.to_str().map_err(|error| self.not_unicode(&error))?)?;
            self.value(&mapping.get_item(&key)?, depth + 1)?;
        }
        Ok(self.builder.end_object()?)
    }

    fn check_depth(&self, depth: usize) -> PyResult<()> {
        if depth < MOST_NESTED {
            return Ok(());
        }
        let problem = format!("got values nested deeper than {MOST_NESTED}");
        Err(self.error(ErrorKind::Input, &problem, "pass rows of plain values"))
    }

    /// What somebody else's object raised, with a note where that was; our own errors say so themselves.
    fn noted(&self, py: Python<'_>, error: PyErr) -> PyErr {
        if !error.is_instance_of::<GlowplugError>(py) {
            let note = format!("while reading row {} for {}", self.builder.rows(), self.model);
            // An exception that takes no note is raised without.
            let _ = error.value(py).call_method1(intern!(py, "add_note"), (note,));
        }
        error
    }

    fn not_rows(&self, rows: &Bound<'_, PyAny>) -> PyErr {
        let problem = format!("got {}, expected rows: a list of lists, mappings or scalars", shown(rows));
        let fix = if rows.hasattr(intern!(rows.py(), "columns")).unwrap_or(false) {
            "pass the frame to `predict`, or its rows: `frame.to_dict(\"records\")`"
        } else {
            "pass a list of rows, also for one row: `[row]`"
        };
        Error::new(ErrorKind::InputType, self.model, problem, fix).into()
    }

    fn refused(&self, value: &Bound<'_, PyAny>) -> PyErr {
        let problem = format!("got {}, expected numbers, text or None", shown(value));
        self.error(ErrorKind::InputType, &problem, "convert it to a float, int, bool or str first")
    }

    fn not_unicode(&self, error: &dyn Display) -> PyErr {
        let problem = format!("got text that is not valid Unicode: {error}");
        self.error(ErrorKind::Input, &problem, "replace lone surrogates and bytes that are not UTF-8 first")
    }

    fn error(&self, kind: ErrorKind, problem: &str, fix: &str) -> PyErr {
        self.builder.refusal(kind, problem, fix).into()
    }
}

/// What an iteration goes through. Python's own lists may shrink while it lasts, by another thread or an item's methods.
enum Items<'a, 'py> {
    List(&'a Bound<'py, PyList>, usize),
    Tuple(&'a Bound<'py, PyTuple>, usize),
    Any(Bound<'py, PyIterator>),
}

impl<'a, 'py> Items<'a, 'py> {
    /// `None` if it is no iterable.
    fn of(value: &'a Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        if let Ok(list) = value.cast_exact::<PyList>() {
            return Ok(Some(Self::List(list, 0)));
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            return Ok(Some(Self::Tuple(tuple, 0)));
        }
        let py = value.py();
        match value.try_iter() {
            Ok(iterator) => Ok(Some(Self::Any(iterator))),
            // An array of rank 0 has the methods, too, but is a number.
            Err(error)
                if error.is_instance_of::<PyTypeError>(py)
                    && (!value.hasattr(intern!(py, "__iter__"))? || scalar::is_number(value)?) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn next(&mut self) -> Option<PyResult<Bound<'py, PyAny>>> {
        match self {
            Self::List(list, next) => {
                // Asking behind the end would make an exception.
                let item = if *next < list.len() { list.get_item(*next).ok()? } else { return None };
                *next += 1;
                Some(Ok(item))
            }
            Self::Tuple(tuple, next) => {
                let item = if *next < tuple.len() { tuple.get_item(*next).ok()? } else { return None };
                *next += 1;
                Some(Ok(item))
            }
            Self::Any(iterator) => iterator.next(),
        }
    }
}

fn is_mapping(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    Ok(value.is_instance_of::<PyDict>()
        || value.hasattr(intern!(py, "keys"))? && value.hasattr(intern!(py, "__getitem__"))?)
}

/// A value's type for a message.
fn shown(value: &Bound<'_, PyAny>) -> String {
    value.get_type().fully_qualified_name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
