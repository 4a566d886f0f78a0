//! What is wrong with a value, in words, and where it stands.

use super::super::cell::{Misfit, Scalar};
use super::Column;
use crate::error::{Error, ErrorKind};
use crate::signature::Dim;

impl Column<'_> {
    #[cold]
    pub(super) fn length(&self, count: usize, size: usize) -> Error {
        let values = if self.counts.len() + 1 == self.sizes.len() { "values" } else { "lists" };
        let mut expected = format!("got {count} {values}, expected {size}");
        if self.is_sized {
            expected.push_str(" by its shape");
            return self.located(Error::new(ErrorKind::Input, self.place(), expected, "make shape and data agree"));
        }
        let declared = self.signature.inputs()[self.index].dims().and_then(|dims| dims.get(self.counts.len()));
        if !matches!(declared, Some(Dim::Fixed(_))) && self.names.is_empty() {
            expected.push_str(" as in the first row");
        }
        let fix = match self.names.get(count) {
            Some(name) if count < size => format!("give all {size} values; the first that is missing is `{name}`"),
            _ => format!(
                "give exactly {size}; the input's shape is {}",
                self.signature.inputs()[self.index].shape_text()
            ),
        };
        self.located(Error::new(ErrorKind::Input, self.place(), expected, fix))
    }

    pub(super) fn misfit(&self, misfit: Misfit, scalar: Scalar<'_>, place: &str) -> Error {
        let kind = if misfit.is_type() { ErrorKind::InputType } else { ErrorKind::Input };
        let (problem, fix) = misfit.words(scalar, self.dtype);
        Error::new(kind, place, problem, fix)
    }

    /// The error with the row and the field that come next.
    #[cold]
    pub(crate) fn located(&self, error: Error) -> Error {
        let input = &self.signature.inputs()[self.index].name;
        let name = (self.signature.inputs().len() > 1).then_some(input.as_str());
        match self.counts[..] {
            [] => error,
            [element] if self.flat_row.is_some() => match element.checked_div(self.flat_row.unwrap_or(1)) {
                Some(row) => error.at(row, name),
                None => error,
            },
            [row] => error.at(row, name),
            [row, position] => match self.names.get(position) {
                Some(name) => error.at(row, Some(name)),
                None => error.at(row, Some(&position.to_string())),
            },
            [row, ref inner @ ..] => error.at(row, Some(&format!("{inner:?}"))),
        }
    }

    pub(super) fn subject(&self) -> String {
        self.signature.input_subject(self.index)
    }

    /// What stands at this depth.
    pub(super) fn expected(&self, depth: usize) -> String {
        if depth >= self.sizes.len() || (self.is_single() && depth == 1) {
            return format!("one value ({})", self.dtype);
        }
        let noun = if depth + 1 == self.sizes.len() { "values" } else { "lists" };
        match self.sizes[depth] {
            Some(size) => format!("a list of {size} {noun}"),
            None => format!("a list of {noun}"),
        }
    }

    /// Row, position and input that come next.
    #[cold]
    pub(crate) fn place(&self) -> String {
        let subject = self.subject();
        match self.counts[..] {
            [] => subject,
            [element] if self.flat_row.is_some() => match element.checked_div(self.flat_row.unwrap_or(1)) {
                Some(row) => format!("row {row}, element {element} of {subject}"),
                None => format!("element {element} of {subject}"),
            },
            [row] => format!("row {row}, {subject}"),
            [row, position] => match self.names.get(position) {
                Some(name) => format!("row {row}, position {position} (`{name}`) of {subject}"),
                None => format!("row {row}, position {position} of {subject}"),
            },
            [row, ref inner @ ..] => format!("row {row}, position {inner:?} of {subject}"),
        }
    }
}
