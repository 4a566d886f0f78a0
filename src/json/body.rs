//! What people send: bare rows, envelopes of serving systems, one row alone.
//!
//! - `[row, …]`, or one row: a list of scalars where rows are lists, an object, a scalar.
//! - `{"instances": [row, …]}`, TensorFlow Serving's and Vertex AI's row format.
//! - `{"inputs": value}` or `{"inputs": {name: value}}`, TensorFlow Serving's column format: values with all axes.
//! - `{"inputs": [{"name", "shape", "datatype", "data"}, …]}`, the Open Inference Protocol.
//!
//! An object is an envelope if it has `instances` or `inputs` and no other keys than envelopes have. Where the model itself
//! has an input or feature of such a name, its value must have the form of the envelope's as well: a list of lists or
//! objects, or an object for `inputs`.

use super::parameters::{self, Place};
use super::protocol::{self, Wanted};
use super::reader::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::rows::{Column, RowsBuilder, too_many};
use crate::signature::Signature;
use crate::tensor::InputTensor;
use jiter::Peek;

/// The keys of envelopes. The last three are passed over: who is asked is the server's affair, though some clients say it as
/// well.
const KEYS: [&str; 8] =
    ["instances", "inputs", "outputs", "id", "parameters", "signature_name", "model_name", "model_version"];

/// How the rows came, and so how the answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// One row alone.
    Row,
    /// A bare list of rows.
    Rows,
    /// `{"instances": …}`.
    Instances,
    /// `{"inputs": …}` of TensorFlow Serving.
    Columns,
    /// The Open Inference Protocol, with the request's id and the names of the outputs it wants, if it says so.
    Protocol {
        /// To be given back.
        id: Option<String>,
        /// The outputs, in order.
        outputs: Option<Vec<Wanted>>,
        /// Where outputs go that are not said more of.
        place: Place,
    },
}

/// A body as inputs.
#[derive(Debug)]
pub struct Body {
    /// What to run.
    pub inputs: Vec<InputTensor>,
    /// How to answer.
    pub form: Form,
    /// How many rows there are; of tensors, what the first dimension of the first says.
    pub rows: usize,
}

/// Reads a body of at most `most` rows; `features` names the columns of the one required input.
pub fn read(text: &[u8], signature: &Signature, features: Option<&[String]>, most: usize) -> Result<Body> {
    read_with(text, None, signature, features, most)
}

/// The same for a body that has elements of tensors behind its text.
pub(super) fn read_with(
    text: &[u8],
    binary: Option<&[u8]>,
    signature: &Signature,
    features: Option<&[String]>,
    most: usize,
) -> Result<Body> {
    let mut reader = Reader::new(text, binary, signature.model())?;
    let rows = RowsBuilder::new(signature, features)?.at_most(most);
    let body = match reader.peek()? {
        Peek::Array => bare_list(&mut reader, rows)?,
        Peek::Object => {
            let is_envelope = is_envelope(&mut reader.fork(), &rows)?;
            if is_envelope {
                envelope(&mut reader, rows, signature)?
            } else {
                one_row(&mut reader, Peek::Object, rows)?
            }
        }
        peek => one_row(&mut reader, peek, rows)?,
    };
    reader.end()?;
    // Rows of whole tensors are not counted one by one.
    if body.rows > most { Err(too_many(signature.model(), Some(body.rows), most)) } else { Ok(body) }
}

fn built(rows: RowsBuilder<'_>, form: Form) -> Result<Body> {
    let count = rows.rows();
    Ok(Body { inputs: rows.finish()?, form, rows: count })
}

fn one_row(reader: &mut Reader<'_>, peek: Peek, mut rows: RowsBuilder<'_>) -> Result<Body> {
    reader.value(peek, &mut rows)?;
    built(rows, Form::Row)
}

fn bare_list(reader: &mut Reader<'_>, mut rows: RowsBuilder<'_>) -> Result<Body> {
    let first = reader.first()?;
    let is_row = first.is_some_and(|peek| !is_container(peek)) && !rows.takes_scalar_rows();
    if is_row {
        reader.list(first, &mut rows)?;
        return built(rows, Form::Row);
    }
    rest_of_rows(reader, first, &mut rows)?;
    built(rows, Form::Rows)
}

fn rest_of_rows(reader: &mut Reader<'_>, first: Option<Peek>, rows: &mut RowsBuilder<'_>) -> Result<()> {
    let mut next = first;
    while let Some(peek) = next {
        reader.value(peek, rows)?;
        next = reader.next()?;
    }
    Ok(())
}

fn is_container(peek: Peek) -> bool {
    matches!(peek, Peek::Array | Peek::Object)
}

/// Looks ahead as far as it takes to tell an envelope from a row.
fn is_envelope(reader: &mut Reader<'_>, rows: &RowsBuilder<'_>) -> Result<bool> {
    let key = |name: &str| Ok(KEYS.iter().position(|key| *key == name));
    let mut has_rows = false;
    let mut next = reader.first_key(key)?;
    while let Some(key_index) = next {
        let Some(index) = key_index else { return Ok(false) };
        let holds_rows = index < 2;
        if holds_rows && !rows.knows_name(KEYS[index]) {
            return Ok(true);
        }
        if holds_rows {
            has_rows |= looks_like_rows(&mut reader.fork(), KEYS[index])?;
        }
        reader.skip()?;
        next = reader.next_key(key)?;
    }
    Ok(has_rows)
}

fn looks_like_rows(reader: &mut Reader<'_>, key: &str) -> Result<bool> {
    match reader.peek()? {
        Peek::Object => Ok(key == "inputs"),
        Peek::Array => Ok(reader.first()?.is_some_and(is_container)),
        _ => Ok(false),
    }
}

/// What the parts of an envelope amount to.
#[derive(Default)]
struct Parts {
    seen: [bool; KEYS.len()],
    inputs: Option<(Vec<InputTensor>, Kind)>,
    outputs: Option<Vec<Wanted>>,
    id: Option<String>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instances,
    Columns,
    Protocol,
}

fn envelope(reader: &mut Reader<'_>, rows: RowsBuilder<'_>, signature: &Signature) -> Result<Body> {
    let mut parts = Parts::default();
    let mut rows = Some(rows);
    let model = signature.model();
    let mut next = reader.first_key(|name| key_index(name, model))?;
    while let Some(index) = next {
        if std::mem::replace(&mut parts.seen[index], true) {
            return Err(reader.error(format!("got the key `{}` twice", KEYS[index]), "give each key once"));
        }
        match (KEYS[index], rows.take()) {
            ("instances" | "inputs", None) => {
                return Err(reader.error("got both `instances` and `inputs`", "send one of them"));
            }
            ("instances", Some(builder)) => parts.inputs = Some((instances(reader, builder)?, Kind::Instances)),
            ("inputs", Some(builder)) => parts.inputs = Some(inputs(reader, builder, signature)?),
            (key, unused) => {
                rows = unused;
                match key {
                    "outputs" => parts.outputs = Some(protocol::outputs(reader)?),
                    "id" if reader.peek()? == Peek::String => parts.id = Some(reader.text("`id`")?),
                    "parameters" => parts.place = parameters::read(reader)?.outputs.unwrap_or_default(),
                    _ => reader.skip()?,
                }
            }
        }
        next = reader.next_key(|name| key_index(name, model))?;
    }
    let Some((inputs, kind)) = parts.inputs else {
        return Err(reader.error("got neither `instances` nor `inputs`", "send the rows in one of them"));
    };
    let form = match kind {
        Kind::Protocol => {
            let outputs = parts.outputs.filter(|names| !names.is_empty());
            Form::Protocol { id: parts.id, outputs, place: parts.place }
        }
        _ if parts.outputs.is_some() => {
            let problem = "got `outputs`, which only the Open Inference Protocol has";
            let fix = "leave `outputs` out, or send `inputs` as tensors with name, shape, datatype and data";
            return Err(reader.error(problem, fix));
        }
        Kind::Instances => Form::Instances,
        Kind::Columns => Form::Columns,
    };
    let rows =
        inputs.first().and_then(|tensor| tensor.shape.first()).map_or(1, |rows| usize::try_from(*rows).unwrap_or(0));
    Ok(Body { inputs, form, rows })
}

fn key_index(name: &str, model: &str) -> Result<usize> {
    KEYS.iter().position(|key| *key == name).ok_or_else(|| {
        let problem = format!("got unknown key `{name}` beside the rows, expected only {}", KEYS.join(", "));
        Error::new(ErrorKind::Input, format!("JSON body for {model}"), problem, "leave it out")
    })
}

fn instances(reader: &mut Reader<'_>, mut rows: RowsBuilder<'_>) -> Result<Vec<InputTensor>> {
    if reader.peek()? != Peek::Array {
        return Err(reader.error("got something else than a list for `instances`", "send a list of rows"));
    }
    let first = reader.first()?;
    rest_of_rows(reader, first, &mut rows)?;
    rows.finish()
}

fn inputs(
    reader: &mut Reader<'_>,
    mut rows: RowsBuilder<'_>,
    signature: &Signature,
) -> Result<(Vec<InputTensor>, Kind)> {
    match reader.peek()? {
        Peek::Object => Ok((columns(reader, signature)?, Kind::Columns)),
        Peek::Array => match reader.first()? {
            Some(Peek::Object) => Ok((protocol::tensors(reader, signature)?, Kind::Protocol)),
            first => {
                rest_of_rows(reader, first, &mut rows)?;
                Ok((rows.finish()?, Kind::Columns))
            }
        },
        _ => {
            let fix = "send a list of tensors, a list of rows, or an object from input name to values";
            Err(reader.error("got something else than a list or object for `inputs`", fix))
        }
    }
}

/// An object from input name to all values of the input.
fn columns(reader: &mut Reader<'_>, signature: &Signature) -> Result<Vec<InputTensor>> {
    let mut columns: Vec<InputTensor> = Vec::new();
    let mut next = reader.first_key(|name| signature.input_index(name))?;
    while let Some(index) = next {
        if columns.iter().any(|column| column.index == index) {
            let problem = format!("got input `{}` twice", signature.inputs()[index].name);
            return Err(reader.error(problem, "give each name once"));
        }
        let mut column = Column::whole(signature, index)?;
        let peek = reader.peek()?;
        reader.value(peek, &mut column)?;
        columns.push(column.finish()?);
        next = reader.next_key(|name| signature.input_index(name))?;
    }
    Ok(columns)
}
