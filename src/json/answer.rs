//! The answer in the form of the question.

use std::path::Path;

use super::binary;
use super::body::Form;
use super::parameters::Place;
use super::protocol::{Wanted, datatype};
use super::write::{self, separated};
use crate::error::{Error, ErrorKind, Result};
use crate::signature::Signature;
use crate::tensor::{EngineTensor, Value};

/// What has been computed.
pub(super) struct Answer<'a> {
    /// Which outputs, in order, and their values.
    pub(super) outputs: Vec<(usize, Value)>,
    /// Rows of the question.
    pub(super) rows: usize,
    /// Whether outputs are answered by name.
    pub(super) is_named: bool,
    pub(super) signature: &'a Signature,
    /// What the Open Inference Protocol calls the model: its name, and its version if it has one.
    pub(super) name: Option<(&'a str, Option<&'a str>)>,
}

impl Answer<'_> {
    /// The answer: its bytes, and how many of them are JSON text if others follow.
    pub(super) fn write(&self, form: &Form) -> Result<(Vec<u8>, Option<usize>)> {
        let mut out = Vec::with_capacity(64 + self.rows.saturating_mul(24));
        match form {
            Form::Row => self.row(&mut out),
            Form::Rows => self.predictions(&mut out)?,
            Form::Instances => {
                out.extend_from_slice(b"{\"predictions\":");
                self.predictions(&mut out)?;
                out.push(b'}');
            }
            Form::Columns => {
                out.extend_from_slice(b"{\"outputs\":");
                if self.is_named {
                    self.by_name(&mut out, write::value);
                } else {
                    self.first(&mut out);
                }
                out.push(b'}');
            }
            Form::Protocol { id, outputs, place } => {
                let place = |index: usize| {
                    let wanted = outputs.as_ref().and_then(|outputs| outputs.get(index));
                    wanted.and_then(|Wanted { place, .. }| *place).unwrap_or(*place)
                };
                let length = self.protocol(id.as_deref(), place, &mut out)?;
                return Ok((out, length));
            }
        }
        Ok((out, None))
    }

    fn name(&self, index: usize) -> &str {
        &self.signature.outputs()[index].name
    }

    fn first(&self, out: &mut Vec<u8>) {
        match self.outputs.first() {
            Some((_, value)) => write::value(value, out),
            None => out.extend_from_slice(b"null"),
        }
    }

    /// Of one row: its prediction, without the row axis where the output has one.
    fn row(&self, out: &mut Vec<u8>) {
        let one = |value: &Value, out: &mut Vec<u8>| {
            if write::row(value, 0, 1, out).is_none() {
                write::value(value, out);
            }
        };
        match self.outputs.first() {
            _ if self.is_named => self.by_name(out, one),
            Some((_, value)) => one(value, out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn by_name(&self, out: &mut Vec<u8>, write: impl Fn(&Value, &mut Vec<u8>)) {
        out.push(b'{');
        separated(&self.outputs, out, |(index, value), out| {
            write::text(self.name(*index), out);
            out.push(b':');
            write(value, out);
        });
        out.push(b'}');
    }

    /// Of many rows: the first output whole, whose first axis are the rows; or an object per row.
    fn predictions(&self, out: &mut Vec<u8>) -> Result<()> {
        if !self.is_named {
            self.first(out);
            return Ok(());
        }
        let mut misfit = None;
        out.push(b'[');
        separated(0..self.rows, out, |row, out| {
            out.push(b'{');
            separated(&self.outputs, out, |(index, value), out| {
                write::text(self.name(*index), out);
                out.push(b':');
                if write::row(value, row, self.rows, out).is_none() {
                    misfit.get_or_insert(*index);
                }
            });
            out.push(b'}');
        });
        out.push(b']');
        match misfit {
            None => Ok(()),
            Some(index) => {
                let problem = format!("does not have a value for each of the {} rows", self.rows);
                let fix = r#"send the rows as `{"inputs": …}`, which is answered with whole outputs"#;
                Err(self.unfit(index, problem, fix))
            }
        }
    }

    fn unfit(&self, index: usize, problem: impl Into<String>, fix: &str) -> Error {
        let subject = format!("output `{}` of {}", self.name(index), self.signature.model());
        Error::new(ErrorKind::Input, subject, problem, fix)
    }

    fn protocol(&self, id: Option<&str>, place: impl Fn(usize) -> Place, out: &mut Vec<u8>) -> Result<Option<usize>> {
        let (name, version) = self.name.unwrap_or((model_name(self.signature.model()), None));
        out.extend_from_slice(b"{\"model_name\":");
        write::text(name, out);
        if let Some(version) = version {
            out.extend_from_slice(b",\"model_version\":");
            write::text(version, out);
        }
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            write::text(id, out);
        }
        out.extend_from_slice(b",\"outputs\":[");
        let mut misfit = None;
        separated(self.outputs.iter().enumerate(), out, |(position, (index, value)), out| {
            let (kind, shape) = match value {
                Value::Tensor(EngineTensor { dtype, shape, .. }) => (datatype(*dtype), shape),
                Value::Strings(shape, _) => ("BYTES", shape),
                _ => {
                    misfit.get_or_insert(*index);
                    return;
                }
            };
            out.extend_from_slice(b"{\"name\":");
            write::text(self.name(*index), out);
            out.extend_from_slice(b",\"datatype\":");
            write::text(kind, out);
            out.extend_from_slice(b",\"shape\":[");
            separated(shape, out, |size, out| write::number(*size, out));
            match place(position) {
                Place::Text => {
                    out.extend_from_slice(b"],\"data\":");
                    write::flat(value, out);
                    out.push(b'}');
                }
                Place::Binary => {
                    out.extend_from_slice(b"],\"parameters\":{\"binary_data_size\":");
                    write::number(i64::try_from(binary::size(value)).unwrap_or(i64::MAX), out);
                    out.extend_from_slice(b"}}");
                }
            }
        });
        out.extend_from_slice(b"]}");
        let length = out.len();
        let behind = self.outputs.iter().enumerate().filter(|(position, _)| place(*position) == Place::Binary);
        let mut has_binary = false;
        for (_, (_, value)) in behind {
            has_binary = true;
            binary::write(value, out);
        }
        match misfit {
            None => Ok(has_binary.then_some(length)),
            Some(index) => {
                let problem = "is not a tensor, and the Open Inference Protocol has only tensors";
                Err(self.unfit(index, problem, "name other outputs in `outputs`, or send the rows as `instances`"))
            }
        }
    }
}

/// The file's name without its ending.
fn model_name(model: &str) -> &str {
    Path::new(model).file_stem().and_then(|stem| stem.to_str()).unwrap_or(model)
}
