//! Requests of the Open Inference Protocol, version 2, as JSON: tensors with name, shape, datatype and data.

use jiter::Peek;
use smallvec::SmallVec;

use super::binary;
use super::parameters::{self, Place};
use super::reader::Reader;
use crate::error::{Error, ErrorKind, Result, list_names};
use crate::rows::Column;
use crate::signature::Signature;
use crate::tensor::{DType, InputTensor, Shape, element_count};

/// The protocol's names for dtypes.
const DATATYPES: [(&str, DType); 13] = [
    ("FP32", DType::Float32),
    ("FP64", DType::Float64),
    ("INT64", DType::Int64),
    ("BYTES", DType::String),
    ("BOOL", DType::Bool),
    ("INT32", DType::Int32),
    ("UINT8", DType::Uint8),
    ("INT8", DType::Int8),
    ("INT16", DType::Int16),
    ("UINT16", DType::Uint16),
    ("UINT32", DType::Uint32),
    ("UINT64", DType::Uint64),
    ("FP16", DType::Float16),
];
/// The protocol's name of `dtype`.
pub(super) fn datatype(dtype: DType) -> &'static str {
    DATATYPES.iter().find(|(_, known)| *known == dtype).map_or("BYTES", |(name, _)| name)
}

#[derive(Clone, Copy)]
enum Key {
    Name,
    Shape,
    Datatype,
    Data,
    Parameters,
}

const KEYS: [(&str, Key); 5] = [
    ("name", Key::Name),
    ("shape", Key::Shape),
    ("datatype", Key::Datatype),
    ("data", Key::Data),
    ("parameters", Key::Parameters),
];

/// The tensors of a list whose first is an object.
pub(super) fn tensors(reader: &mut Reader<'_>, signature: &Signature) -> Result<Vec<InputTensor>> {
    let mut tensors: Vec<InputTensor> = Vec::new();
    loop {
        let made = tensor(reader, signature)?;
        if tensors.iter().any(|tensor| tensor.index == made.index) {
            let problem = format!("got input `{}` twice", signature.inputs()[made.index].name);
            return Err(reader.error(problem, "give each name once"));
        }
        tensors.push(made);
        match reader.next()? {
            None => return Ok(tensors),
            Some(Peek::Object) => {}
            Some(_) => return Err(reader.error("got something else than a tensor in `inputs`", FORM)),
        }
    }
}

const FORM: &str =
    "send tensors as objects with name, shape, datatype and data; rows of named values go into `instances`";

/// One tensor under way.
#[derive(Default)]
struct Parts {
    seen: [bool; KEYS.len()],
    index: Option<usize>,
    shape: Option<Shape>,
    datatype: Option<DType>,
    binary_size: Option<usize>,
    tensor: Option<InputTensor>,
}

fn tensor(reader: &mut Reader<'_>, signature: &Signature) -> Result<InputTensor> {
    let mut parts = Parts::default();
    let mut data: Option<Reader<'_>> = None;
    let position = |name: &str| match KEYS.iter().position(|(key, _)| *key == name) {
        Some(index) => Ok(index),
        None => Err(Error::new(
            ErrorKind::Input,
            format!("JSON body for {}", signature.model()),
            format!("got unknown key `{name}` in a tensor of `inputs`"),
            FORM,
        )),
    };
    let mut next = reader.first_key(position)?;
    while let Some(index) = next {
        if std::mem::replace(&mut parts.seen[index], true) {
            return Err(
                reader.error(format!("got the key `{}` of a tensor twice", KEYS[index].0), "give each key once")
            );
        }
        match KEYS[index].1 {
            Key::Name => parts.index = Some(signature.input_index(&reader.text("`name`")?)?),
            Key::Shape => parts.shape = Some(shape(reader)?),
            Key::Datatype => parts.datatype = Some(dtype(reader)?),
            Key::Parameters => parts.binary_size = parameters::read(reader)?.binary_size,
            Key::Data if parts.is_known() => parts.tensor = Some(parts.read(reader, signature)?),
            Key::Data => {
                // What it means is said further on.
                data = Some(reader.fork());
                reader.skip()?;
            }
        }
        next = reader.next_key(position)?;
    }
    if let (Some(size), true) = (parts.binary_size, parts.is_known()) {
        if data.is_some() || parts.tensor.is_some() {
            let problem = "got both `data` and the parameter `binary_data_size` in a tensor";
            return Err(reader.error(problem, "send the elements once"));
        }
        return parts.read_binary(reader, size, signature);
    }
    if let (Some(mut data), true) = (data, parts.is_known()) {
        return parts.read(&mut data, signature);
    }
    parts.tensor.take().ok_or_else(|| {
        let missing = KEYS.iter().zip(parts.seen).filter(|((name, _), seen)| !seen && *name != "parameters");
        let missing = list_names(missing.map(|((name, _), _)| *name), KEYS.len());
        reader.error(format!("a tensor of `inputs` lacks {missing}"), FORM)
    })
}

impl Parts {
    fn is_known(&self) -> bool {
        self.index.is_some() && self.shape.is_some() && self.datatype.is_some()
    }

    /// Name, shape and datatype, if they fit the model; the shape as it was sent and as the model takes it.
    fn head(&self, reader: &Reader<'_>, signature: &Signature) -> Result<(usize, &Shape, Shape, DType)> {
        let (Some(index), Some(declared), Some(datatype)) = (self.index, &self.shape, self.datatype) else {
            return Err(reader.error("a tensor lacks its name, shape or datatype", FORM));
        };
        check_datatype(signature, index, datatype)?;
        let shape = signature.fit_shape(index, declared)?;
        if element_count(declared).is_none() {
            return Err(reader.error(format!("got the shape {declared:?}, which has too many elements"), FORM));
        }
        Ok((index, declared, shape, datatype))
    }

    fn read_binary(&self, reader: &mut Reader<'_>, size: usize, signature: &Signature) -> Result<InputTensor> {
        let (index, declared, shape, datatype) = self.head(reader, signature)?;
        let bytes = reader.binary(size)?;
        let elements = binary::elements(bytes, datatype, declared, signature, index)?;
        Ok(InputTensor { index, shape, elements })
    }

    fn read(&self, reader: &mut Reader<'_>, signature: &Signature) -> Result<InputTensor> {
        let (index, declared, shape, _) = self.head(reader, signature)?;
        if reader.peek()? != Peek::Array {
            return Err(reader.error("got something else than a list for `data`", "send the elements as a list"));
        }
        let is_nested = reader.fork().first()?.is_some_and(|peek| peek == Peek::Array);
        let sizes: SmallVec<[usize; 6]> = declared.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
        let mut column = Column::sized(signature, index, &sizes, !is_nested)?;
        reader.value(Peek::Array, &mut column)?;
        Ok(InputTensor { shape, ..column.finish()? })
    }
}

/// Floats do not go into whole numbers, nor text into numbers, whatever the values.
fn check_datatype(signature: &Signature, index: usize, got: DType) -> Result<()> {
    let wanted = signature.input_dtype(index)?;
    let is_float = |dtype| matches!(dtype, DType::Float16 | DType::Float32 | DType::Float64);
    let fits = match wanted {
        DType::String | DType::Bool => got == wanted,
        _ if is_float(wanted) => got != DType::String,
        _ => got != DType::String && !is_float(got),
    };
    if fits {
        return Ok(());
    }
    let problem = format!("got datatype {}, expected {}", datatype(got), datatype(wanted));
    let fix = format!("send the tensor as {}", datatype(wanted));
    Err(Error::new(ErrorKind::InputType, signature.input_subject(index), problem, fix))
}

fn dtype(reader: &mut Reader<'_>) -> Result<DType> {
    let name = reader.text("`datatype`")?;
    DATATYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype).ok_or_else(|| {
        let names = list_names(DATATYPES.iter().map(|(name, _)| *name), DATATYPES.len());
        reader
            .error(format!("got unknown datatype `{name}`, expected one of {names}"), "use a datatype of the protocol")
    })
}

fn shape(reader: &mut Reader<'_>) -> Result<Shape> {
    let mut shape = Shape::new();
    if reader.peek()? != Peek::Array {
        return Err(reader.error("got something else than a list for `shape`", "send a list of sizes"));
    }
    let mut next = reader.first()?;
    while let Some(peek) = next {
        match reader.size(peek)? {
            Some(size) if shape.len() < 32 => shape.push(size),
            _ => {
                return Err(
                    reader.error("got a shape that is not a list of at most 32 sizes", "send whole numbers from 0")
                );
            }
        }
        next = reader.next()?;
    }
    Ok(shape)
}

/// An output that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Where it goes, if that is said of it alone.
    pub place: Option<Place>,
}

/// The outputs that a request wants.
pub(super) fn outputs(reader: &mut Reader<'_>) -> Result<Vec<Wanted>> {
    const FIX: &str = r#"send `outputs` as `[{"name": …}]`"#;
    let mut wanted: Vec<Wanted> = Vec::new();
    if reader.peek()? != Peek::Array {
        return Err(reader.error("got something else than a list for `outputs`", FIX));
    }
    let mut next = reader.first()?;
    while let Some(peek) = next {
        if peek != Peek::Object {
            return Err(reader.error("got something else than an object in `outputs`", FIX));
        }
        let (mut name, mut place) = (None, None);
        let mut key = reader.first_key(|key| Ok(key.to_owned()))?;
        while let Some(known) = key {
            match known.as_str() {
                "name" if name.is_none() => name = Some(reader.text("an output's `name`")?),
                "parameters" => place = parameters::read(reader)?.output,
                other => return Err(reader.error(format!("got the key `{other}` in `outputs`, unknown or twice"), FIX)),
            }
            key = reader.next_key(|key| Ok(key.to_owned()))?;
        }
        match name {
            Some(name) => wanted.push(Wanted { name, place }),
            None => return Err(reader.error("got an output without a name", FIX)),
        }
        next = reader.next()?;
    }
    Ok(wanted)
}
