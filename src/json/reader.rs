//! Pulls values out of JSON text and tells them to whoever builds inputs, without a tree between.

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, LinePosition, NumberAny, NumberInt, Peek};

use super::sink::Sink;
use crate::error::{Error, ErrorKind, Result};
use crate::rows::{Records, Scalar};

/// A place in a body.
pub(super) struct Reader<'a> {
    jiter: Jiter<'a>,
    text: &'a [u8],
    /// What stands behind the text and is not read yet, where a body may have that.
    binary: Option<&'a [u8]>,
    model: &'a str,
}

impl<'a> Reader<'a> {
    /// Begins a body; `model` names the model in errors.
    pub(super) fn new(body: &'a [u8], binary: Option<&'a [u8]>, model: &'a str) -> Result<Self> {
        let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Err(invalid) = std::str::from_utf8(text) {
            let byte = body.len() - text.len() + invalid.valid_up_to();
            let problem = format!("is not valid UTF-8 at byte {byte}");
            return Err(Error::new(ErrorKind::Input, subject(model), problem, "encode the body as UTF-8"));
        }
        if text.trim_ascii().is_empty() {
            let fix = "send rows, for example `[[1.0, 2.0]]`";
            return Err(Error::new(ErrorKind::Input, subject(model), "is empty", fix));
        }
        Ok(Self { jiter: Jiter::new(text).with_allow_inf_nan(), text, binary, model })
    }

    /// Another reader at the same place, to look ahead or come back.
    pub(super) fn fork(&self) -> Self {
        Self { jiter: self.jiter.clone(), text: self.text, binary: self.binary, model: self.model }
    }

    /// The kind of the next value.
    pub(super) fn peek(&mut self) -> Result<Peek> {
        self.jiter.peek().map_err(|error| self.syntax(&error))
    }

    /// Begins a list; the kind of its first value, if it has one.
    pub(super) fn first(&mut self) -> Result<Option<Peek>> {
        self.jiter.known_array().map_err(|error| self.syntax(&error))
    }

    /// The kind of the next value of a list, if there is one more.
    pub(super) fn next(&mut self) -> Result<Option<Peek>> {
        self.jiter.array_step().map_err(|error| self.syntax(&error))
    }

    /// Begins an object; its first key, if it has one, goes to `take`.
    pub(super) fn first_key<T>(&mut self, take: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
        match self.jiter.known_object() {
            Ok(key) => key.map(take).transpose(),
            Err(error) => Err(self.syntax(&error)),
        }
    }

    /// The next key of an object, if there is one more, goes to `take`.
    pub(super) fn next_key<T>(&mut self, take: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
        match self.jiter.next_key() {
            Ok(key) => key.map(take).transpose(),
            Err(error) => Err(self.syntax(&error)),
        }
    }

    /// Passes over a value, which has to be valid JSON.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.jiter.next_skip().map_err(|error| self.syntax(&error))
    }

    /// A text; `what` names it where there is something else.
    pub(super) fn text(&mut self, what: &str) -> Result<String> {
        if self.peek()? != Peek::String {
            let fix = format!("send {what} as text in quotes");
            return Err(self.error(format!("got something else than text for {what}"), fix));
        }
        match self.jiter.known_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.syntax(&error)),
        }
    }

    /// A size from 0 on; `None` for everything else.
    pub(super) fn size(&mut self, peek: Peek) -> Result<Option<i64>> {
        if !peek.is_num() {
            return Ok(None);
        }
        match self.jiter.known_number(peek) {
            Ok(NumberAny::Int(NumberInt::Int(size))) if size >= 0 => Ok(Some(size)),
            Ok(_) => Ok(None),
            Err(error) => Err(self.syntax(&error)),
        }
    }

    /// Nothing may follow but white space.
    pub(super) fn end(&mut self) -> Result<()> {
        self.jiter.finish().map_err(|error| self.syntax(&error))?;
        match self.binary.map_or(0, <[u8]>::len) {
            0 => Ok(()),
            left => {
                let problem = format!("got {left} bytes behind the JSON text that belong to no tensor");
                Err(self.error(problem, "give each binary tensor its `binary_data_size`"))
            }
        }
    }

    /// Whether elements may stand behind the text.
    pub(super) fn takes_binary(&self) -> bool {
        self.binary.is_some()
    }

    /// The next bytes behind the text.
    pub(super) fn binary(&mut self, size: usize) -> Result<&'a [u8]> {
        let left = self.binary.unwrap_or_default();
        let Some((taken, rest)) = left.split_at_checked(size) else {
            let problem = format!("got {} bytes for a tensor of `binary_data_size` {size}", left.len());
            return Err(self.error(problem, "send the elements of all binary tensors behind the JSON text, in order"));
        };
        self.binary = Some(rest);
        Ok(taken)
    }

    /// Tells the value that begins with `peek` to `sink`.
    pub(super) fn value<S: Sink>(&mut self, peek: Peek, sink: &mut S) -> Result<()> {
        match peek {
            Peek::Array => {
                let first = self.first()?;
                self.list(first, sink)
            }
            Peek::Object => self.object(sink),
            _ => self.scalar(peek, sink),
        }
    }

    /// Tells a list that has been begun to `sink`, which bounds how deep lists go.
    pub(super) fn list<S: Sink>(&mut self, first: Option<Peek>, sink: &mut S) -> Result<()> {
        sink.begin_list()?;
        let mut next = first;
        while let Some(slots) = sink.slots() {
            let (written, odd) = self.fill(&mut next, slots)?;
            sink.advance(written);
            if let Some(scalar) = odd {
                sink.scalar(scalar)?;
                next = self.next()?;
            } else if next.is_none_or(|peek| !peek.is_num()) {
                break;
            }
        }
        while let Some(peek) = next {
            if matches!(peek, Peek::Array | Peek::Object) {
                self.value(peek, sink)?;
            } else {
                self.scalar(peek, sink)?;
            }
            next = self.next()?;
        }
        sink.end_list()
    }

    /// Reads numbers into slots, the loop where the time goes; stops at anything else. A number that needs a closer look
    /// has been read, and its value comes back.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn fill(&mut self, next: &mut Option<Peek>, slots: &mut [[u8; 4]]) -> Result<(usize, Option<Scalar<'static>>)> {
        for (written, slot) in slots.iter_mut().enumerate() {
            let Some(peek) = next.filter(|peek| peek.is_num()) else { return Ok((written, None)) };
            let number = match self.jiter.known_number(peek) {
                Ok(NumberAny::Float(value)) => {
                    let rounded = value as f32;
                    if !rounded.is_finite() {
                        let odd = if value.is_finite() { Scalar::Float(value) } else { self.not_finite(value) };
                        return Ok((written, Some(odd)));
                    }
                    rounded
                }
                Ok(NumberAny::Int(NumberInt::Int(value))) => value as f32,
                Err(error) => return Ok((written, Some(self.wide_number(peek, &error)?))),
            };
            *slot = number.to_ne_bytes();
            *next = self.next()?;
        }
        Ok((slots.len(), None))
    }

    fn object<S: Sink>(&mut self, sink: &mut S) -> Result<()> {
        if !sink.begin_object()? {
            let problem = "got an object, expected values or lists of them";
            return Err(self.error(problem, "send the values of an input as nested lists"));
        }
        let mut key = self.first_key(|name| sink.key(name))?;
        while key.is_some() {
            let peek = self.peek()?;
            self.value(peek, sink)?;
            key = self.next_key(|name| sink.key(name))?;
        }
        sink.end_object()
    }

    #[inline]
    fn scalar<S: Sink>(&mut self, peek: Peek, sink: &mut S) -> Result<()> {
        if peek.is_num() {
            return match self.jiter.known_number(peek) {
                Ok(NumberAny::Float(value)) if value.is_finite() => sink.scalar(Scalar::Float(value)),
                Ok(NumberAny::Int(NumberInt::Int(value))) => sink.scalar(Scalar::Int(value)),
                Ok(NumberAny::Float(value)) => sink.scalar(self.not_finite(value)),
                Err(error) => sink.scalar(self.wide_number(peek, &error)?),
            };
        }
        match peek {
            Peek::String => match self.jiter.known_str() {
                Ok(text) => sink.scalar(Scalar::Text(text)),
                Err(error) => Err(self.syntax(&error)),
            },
            Peek::Null => {
                self.jiter.known_null().map_err(|error| self.syntax(&error))?;
                sink.scalar(Scalar::Null)
            }
            _ => match self.jiter.known_bool(peek) {
                Ok(value) => sink.scalar(Scalar::Bool(value)),
                Err(error) => Err(self.syntax(&error)),
            },
        }
    }

    /// Tells the words for infinity and NaN from digits that overflow.
    #[cold]
    fn not_finite(&self, value: f64) -> Scalar<'static> {
        let last = self.jiter.current_index().checked_sub(1).and_then(|last| self.text.get(last));
        if last.is_some_and(u8::is_ascii_digit) { Scalar::Huge } else { Scalar::Float(value) }
    }

    /// A number that the parser does not read because it is beyond `i64`.
    #[cold]
    fn wide_number(&mut self, peek: Peek, error: &JiterError) -> Result<Scalar<'static>> {
        if error.error_type != JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange) {
            return Err(self.syntax(error));
        }
        let scalar = match self.jiter.known_number_bytes(peek) {
            Ok(digits) => std::str::from_utf8(digits).ok().and_then(wide_scalar),
            Err(error) => return Err(self.syntax(&error)),
        };
        scalar.ok_or_else(|| self.syntax(error))
    }

    /// What is wrong at this place.
    #[cold]
    pub(super) fn error(&self, problem: impl Into<String>, fix: impl Into<String>) -> Error {
        let position = self.position(self.jiter.current_index());
        Error::new(ErrorKind::Input, subject(self.model), format!("{} at {position}", problem.into()), fix)
    }

    #[cold]
    fn syntax(&self, error: &JiterError) -> Error {
        let words = match &error.error_type {
            JiterErrorType::JsonError(JsonErrorType::TrailingCharacters) => "text follows after the end".to_owned(),
            JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange) => "a number has too many digits".to_owned(),
            JiterErrorType::JsonError(JsonErrorType::RecursionLimitExceeded) => "lists are nested too deep".to_owned(),
            other => other.to_string(),
        };
        let problem = format!("is not valid JSON: {words}, at {}", self.position(error.index));
        Error::new(ErrorKind::Input, subject(self.model), problem, "send one JSON value, for example `[[1.0, 2.0]]`")
    }

    fn position(&self, index: usize) -> String {
        let LinePosition { line, column } = self.jiter.error_position(index.min(self.text.len()));
        format!("line {line}, column {column}")
    }
}

impl Reader<'_> {
    /// Tells rows that are objects of single values to `records`, from the first row of a list on or one row alone; `false`
    /// if there is anything else, wherever: the reader is then of no more use.
    pub(super) fn records(&mut self, is_list: bool, most: usize, records: &mut Records<'_>) -> bool {
        loop {
            if !self.record(records).unwrap_or(false) || records.rows() > most {
                return false;
            }
            if !is_list {
                return true;
            }
            match self.jiter.array_step() {
                Ok(Some(Peek::Object)) => {}
                Ok(None) => return true,
                _ => return false,
            }
        }
    }

    fn record(&mut self, records: &mut Records<'_>) -> std::result::Result<bool, JiterError> {
        let mut is_known = self.jiter.known_object()?.map(|name| records.key(name));
        while let Some(true) = is_known {
            let peek = self.jiter.peek()?;
            let is_taken = match peek {
                Peek::String => records.scalar(Scalar::Text(self.jiter.known_str()?)),
                Peek::Null => {
                    self.jiter.known_null()?;
                    records.scalar(Scalar::Null)
                }
                Peek::True | Peek::False => {
                    let value = self.jiter.known_bool(peek)?;
                    records.scalar(Scalar::Bool(value))
                }
                _ if peek.is_num() => match self.jiter.known_number(peek)? {
                    NumberAny::Float(value) if value.is_finite() => records.scalar(Scalar::Float(value)),
                    NumberAny::Int(NumberInt::Int(value)) => records.scalar(Scalar::Int(value)),
                    NumberAny::Float(_) => false,
                },
                _ => false,
            };
            if !is_taken {
                return Ok(false);
            }
            is_known = self.jiter.next_key()?.map(|name| records.key(name));
        }
        Ok(is_known.is_none() && records.end_row())
    }
}

fn subject(model: &str) -> String {
    format!("JSON body for {model}")
}

fn wide_scalar(digits: &str) -> Option<Scalar<'static>> {
    if let Ok(value) = digits.parse() {
        return Some(Scalar::Uint(value));
    }
    let value: f64 = digits.parse().ok()?;
    Some(if value.is_finite() { Scalar::Float(value) } else { Scalar::Huge })
}
