//! The messages that graphs are made of: tensors, attributes, inputs and outputs.

use std::io::{Read, Seek};

use super::{Classes, Content, ExternalData, Scanned, Scanner};
use crate::onnx::graph::{Attribute, Constant, Input, MOST_NUMBERS};

/// Bytes of the longest varint, with a tag in front of it.
const LONGEST_VARINT: u64 = 11;
/// Longest text of an attribute that is kept.
const LONGEST_TEXT: u64 = 256;

impl<R: Read + Seek> Scanner<R> {
    /// An input or output: `type` (2) has `tensor_type` (1), which has `shape` (2) only if the rank is known. A dimension
    /// has a value (1) or a name (2).
    pub(super) fn value_info(&mut self, end: u64) -> Scanned<Input> {
        let mut input = Input::default();
        self.fields(end, |this, field| match (field.number, field.content) {
            (1, Content::Until(stop)) => {
                input.name = this.name(stop)?;
                Ok(())
            }
            (2, Content::Until(stop)) => this.fields(stop, |this, field| match (field.number, field.content) {
                (1, Content::Until(stop)) => this.fields(stop, |this, field| match (field.number, field.content) {
                    (2, Content::Until(stop)) => {
                        let mut dims = Vec::new();
                        this.fields(stop, |this, field| {
                            if let (1, Content::Until(stop)) = (field.number, field.content) {
                                dims.push(None);
                                return this.fields(stop, |_, field| {
                                    if let (1, Content::Varint(size), Some(dim)) =
                                        (field.number, field.content, dims.last_mut())
                                    {
                                        *dim = Some(size.cast_signed());
                                    }
                                    Ok(())
                                });
                            }
                            Ok(())
                        })?;
                        input.dims = Some(dims);
                        Ok(())
                    }
                    _ => Ok(()),
                }),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })?;
        if input.dims.is_none() {
            self.facts.open_ranks.push(input.name.clone());
        }
        Ok(input)
    }

    pub(super) fn attribute(&mut self, end: u64, main: bool) -> Scanned<(String, Attribute)> {
        let (mut name, mut value, mut numbers) = (String::new(), Attribute::Other, Vec::new());
        self.fields(end, |this, field| match (field.number, field.content) {
            (1, Content::Until(stop)) => {
                name = this.name(stop)?;
                Ok(())
            }
            (3, Content::Varint(number)) => {
                this.has_zero_groups |= number == 0 && name == "group";
                value = Attribute::Int(number.cast_signed());
                Ok(())
            }
            (4, Content::Until(stop)) if main && stop - this.walker.position() <= LONGEST_TEXT => {
                value = Attribute::Text(this.name(stop)?);
                Ok(())
            }
            (5, Content::Until(stop)) => {
                value = Attribute::Tensor(this.tensor(stop)?);
                Ok(())
            }
            (10, Content::Until(stop)) => this.tensor(stop).map(|_| ()),
            (6 | 11, Content::Until(stop)) => {
                value = Attribute::Graph;
                this.graph(stop, false)
            }
            (22 | 23, Content::Until(stop)) => this.sparse_tensor(stop),
            (8, content) if main && name.starts_with("classlabels_int") => this.int_label(content),
            (9, Content::Until(stop)) if main && name == "classlabels_strings" => this.string_label(stop),
            (8, content) if main && end - this.walker.position() <= MOST_NUMBERS as u64 * LONGEST_VARINT => {
                this.numbers(content, &mut numbers)
            }
            // A list of numbers or strings holds no tensor and no graph, and a tree ensemble has hundreds of thousands
            // of entries, one field each: they are not walked.
            (7..=9, _) => this.walker.skip_to(end),
            _ => Ok(()),
        })?;
        if !numbers.is_empty() {
            value = Attribute::Ints(numbers);
        }
        Ok((name, value))
    }

    /// Whole numbers, one a field or all in one.
    fn numbers(&mut self, content: Content, numbers: &mut Vec<i64>) -> Scanned {
        match content {
            Content::Varint(number) => numbers.push(number.cast_signed()),
            Content::Until(stop) => {
                while self.walker.position() < stop {
                    numbers.push(self.walker.varint(stop)?.cast_signed());
                }
            }
            Content::Fixed => {}
        }
        Ok(())
    }

    fn int_label(&mut self, content: Content) -> Scanned {
        let mut labels = match self.labels.take() {
            Some(Classes::Ints(labels)) => labels,
            _ => Vec::new(),
        };
        self.numbers(content, &mut labels)?;
        self.labels = Some(Classes::Ints(labels));
        Ok(())
    }

    fn string_label(&mut self, stop: u64) -> Scanned {
        let label = self.name(stop)?;
        let mut labels = match self.labels.take() {
            Some(Classes::Strings(labels)) => labels,
            _ => Vec::new(),
        };
        labels.push(label);
        self.labels = Some(Classes::Strings(labels));
        Ok(())
    }

    /// A tensor: its place, if its data lies in another file, and its elements, if they are few whole numbers.
    pub(super) fn tensor(&mut self, end: u64) -> Scanned<Constant> {
        let (mut data, mut is_external) = (ExternalData::default(), false);
        let (mut dims, mut numbers, mut raw, mut kind) = (Vec::new(), Vec::new(), Vec::new(), 0);
        self.fields(end, |this, field| {
            let is_short = |stop: u64, size: u64| stop - this.walker.position() <= MOST_NUMBERS as u64 * size;
            match (field.number, field.content) {
                (1, content) if dims.len() < MOST_NUMBERS => this.numbers(content, &mut dims)?,
                (2, Content::Varint(number)) => kind = number,
                (5 | 7, Content::Until(stop)) if is_short(stop, LONGEST_VARINT) => {
                    this.numbers(field.content, &mut numbers)?;
                }
                (5 | 7, Content::Varint(_)) if numbers.len() <= MOST_NUMBERS => {
                    this.numbers(field.content, &mut numbers)?;
                }
                (8, Content::Until(stop)) => data.tensor = this.name(stop)?,
                (9, Content::Until(stop)) if is_short(stop, 8) => raw = this.walker.bytes(stop)?,
                (13, Content::Until(stop)) => {
                    let (key, value) = this.entry(stop)?;
                    match key.as_str() {
                        "location" => data.location = value,
                        "offset" => data.offset = Some(value),
                        "length" => data.length = Some(value),
                        _ => {}
                    }
                }
                (14, Content::Varint(location)) => is_external = location == 1,
                _ => {}
            }
            Ok(())
        })?;
        let name = data.tensor.clone();
        if is_external {
            self.facts.external.push(data);
        }
        let elements = whole_numbers(kind, numbers, &raw);
        let count = dims.iter().try_fold(1_i64, |count, dim| count.checked_mul(*dim));
        let ints = elements.filter(|elements| !is_external && i64::try_from(elements.len()).ok() == count);
        Ok(Constant { name, dims, ints })
    }

    pub(super) fn sparse_tensor(&mut self, end: u64) -> Scanned {
        self.fields(end, |this, field| match (field.number, field.content) {
            (1 | 2, Content::Until(stop)) => this.tensor(stop).map(|_| ()),
            _ => Ok(()),
        })
    }

    fn entry(&mut self, end: u64) -> Scanned<(String, String)> {
        let (mut key, mut value) = (String::new(), String::new());
        self.fields(end, |this, field| {
            match (field.number, field.content) {
                (1, Content::Until(stop)) => key = this.name(stop)?,
                (2, Content::Until(stop)) => value = this.name(stop)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok((key, value))
    }
}

/// The elements of a tensor of bool, int32 or int64, in `data_type`s of the format, wherever they are stored.
fn whole_numbers(kind: u64, numbers: Vec<i64>, raw: &[u8]) -> Option<Vec<i64>> {
    const INT32: u64 = 6;
    const INT64: u64 = 7;
    const BOOL: u64 = 9;
    let stored = match kind {
        INT32 => raw.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect(),
        INT64 => raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        BOOL => raw.iter().map(|byte| i64::from(*byte)).collect(),
        _ => return None,
    };
    Some(if raw.is_empty() { numbers } else { stored })
}
