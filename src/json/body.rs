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
use crate::rows::{Column, Records, RowsBuilder, too_many};
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
    let target = Target { signature, features, most };
    let body = match reader.peek()? {
        Peek::Array => bare_list(&mut reader, target)?,
        Peek::Object => {
            let is_envelope = is_envelope(&mut reader.fork(), target)?;
            if is_envelope { envelope(&mut reader, target)? } else { one_row(&mut reader, Peek::Object, target)? }
        }
        peek => one_row(&mut reader, peek, target)?,
    };
    reader.end()?;
    // Rows of whole tensors are not counted one by one.
    if body.rows > most { Err(too_many(signature.model(), Some(body.rows), most)) } else { Ok(body) }
}

/// What rows are read for.
#[derive(Clone, Copy)]
struct Target<'a> {
    signature: &'a Signature,
    features: Option<&'a [String]>,
    most: usize,
}

impl<'a> Target<'a> {
    fn builder(self) -> Result<RowsBuilder<'a>> {
        Ok(RowsBuilder::new(self.signature, self.features)?.at_most(self.most))
    }

    /// The inputs and their number of rows, and the reader behind them, if all rows are objects with one value for each
    /// input. Of a list, the first row comes next.
    fn records<'b>(self, reader: &Reader<'b>, is_list: bool) -> Option<(Vec<InputTensor>, usize, Reader<'b>)> {
        let mut records = Records::new(self.signature)?;
        let mut ahead = reader.fork();
        if !ahead.records(is_list, self.most, &mut records) {
            return None;
        }
        let rows = records.rows();
        Some((records.finish(), rows, ahead))
    }

    /// Whether a row or envelope can mean the name.
    fn knows_name(self, name: &str) -> bool {
        self.features.is_some_and(|features| features.iter().any(|known| known == name))
            || self.signature.inputs().iter().any(|port| port.name == name)
    }
}

fn built(rows: RowsBuilder<'_>, form: Form) -> Result<Body> {
    let count = rows.rows();
    Ok(Body { inputs: rows.finish()?, form, rows: count })
}

fn one_row(reader: &mut Reader<'_>, peek: Peek, target: Target<'_>) -> Result<Body> {
    if peek == Peek::Object
        && let Some((inputs, rows, behind)) = target.records(reader, false)
    {
        *reader = behind;
        return Ok(Body { inputs, form: Form::Row, rows });
    }
    let mut rows = target.builder()?;
    reader.value(peek, &mut rows)?;
    built(rows, Form::Row)
}

fn bare_list(reader: &mut Reader<'_>, target: Target<'_>) -> Result<Body> {
    let first = reader.first()?;
    let is_scalar = first.is_some_and(|peek| !is_container(peek));
    if is_scalar {
        let mut rows = target.builder()?;
        if !rows.takes_scalar_rows() {
            reader.list(first, &mut rows)?;
            return built(rows, Form::Row);
        }
        rest_of_rows(reader, first, &mut rows)?;
        return built(rows, Form::Rows);
    }
    let (inputs, rows) = rows(reader, first, target)?;
    Ok(Body { inputs, form: Form::Rows, rows })
}

/// The rows of a list that has been begun.
fn rows(reader: &mut Reader<'_>, first: Option<Peek>, target: Target<'_>) -> Result<(Vec<InputTensor>, usize)> {
    if first == Some(Peek::Object)
        && let Some((inputs, rows, behind)) = target.records(reader, true)
    {
        *reader = behind;
        return Ok((inputs, rows));
    }
    let mut rows = target.builder()?;
    rest_of_rows(reader, first, &mut rows)?;
    let count = rows.rows();
    Ok((rows.finish()?, count))
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
fn is_envelope(reader: &mut Reader<'_>, target: Target<'_>) -> Result<bool> {
    let key = |name: &str| Ok(KEYS.iter().position(|key| *key == name));
    let mut has_rows = false;
    let mut next = reader.first_key(key)?;
    while let Some(key_index) = next {
        let Some(index) = key_index else { return Ok(false) };
        let holds_rows = index < 2;
        if holds_rows && !target.knows_name(KEYS[index]) {
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

fn envelope(reader: &mut Reader<'_>, target: Target<'_>) -> Result<Body> {
    let mut parts = Parts::default();
    let model = target.signature.model();
    let mut next = reader.first_key(|name| key_index(name, model))?;
    while let Some(index) = next {
        if std::mem::replace(&mut parts.seen[index], true) {
            return Err(reader.error(format!("got the key `{}` twice", KEYS[index]), "give each key once"));
        }
        match KEYS[index] {
            "instances" | "inputs" if parts.inputs.is_some() => {
                return Err(reader.error("got both `instances` and `inputs`", "send one of them"));
            }
            "instances" => parts.inputs = Some((instances(reader, target)?, Kind::Instances)),
            "inputs" => parts.inputs = Some(inputs(reader, target)?),
            "outputs" => parts.outputs = Some(protocol::outputs(reader)?),
            "id" if reader.peek()? == Peek::String => parts.id = Some(reader.text("`id`")?),
            "parameters" => parts.place = parameters::read(reader)?.outputs.unwrap_or_default(),
            _ => reader.skip()?,
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

fn instances(reader: &mut Reader<'_>, target: Target<'_>) -> Result<Vec<InputTensor>> {
    if reader.peek()? != Peek::Array {
        return Err(reader.error("got something else than a list for `instances`", "send a list of rows"));
    }
    let first = reader.first()?;
    rows(reader, first, target).map(|(inputs, _)| inputs)
}

fn inputs(reader: &mut Reader<'_>, target: Target<'_>) -> Result<(Vec<InputTensor>, Kind)> {
    match reader.peek()? {
        Peek::Object => Ok((columns(reader, target.signature)?, Kind::Columns)),
        Peek::Array => match reader.first()? {
            Some(Peek::Object) => Ok((protocol::tensors(reader, target.signature)?, Kind::Protocol)),
            first => rows(reader, first, target).map(|(inputs, _)| (inputs, Kind::Columns)),
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
