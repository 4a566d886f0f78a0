//! What is said of rows that do not fit: which row, what was got and expected, and the fix.

use super::names::Names;
use super::{Place, RowsBuilder};
use crate::error::{Error, ErrorKind, list_names, nearest};
use crate::signature::Signature;

/// How many names an error message lists.
pub(super) const NAMES_SHOWN: usize = 12;

impl RowsBuilder<'_> {
    /// An error about the value that comes next, for whoever cannot make a scalar of it.
    #[cold]
    pub fn refusal(&self, kind: ErrorKind, problem: &str, fix: &str) -> Error {
        let (row, model) = (self.rows, self.signature.model());
        let (place, field) = match self.place {
            Place::Sole(index) | Place::Input(index) => match &self.columns[index] {
                Some(column) => return column.located(Error::new(kind, column.place(), problem, fix)),
                None => (row_subject(self.signature, row), None),
            },
            Place::Feature(slot) => {
                let name = self.features[slot].as_str();
                (format!("row {row}, feature `{name}` of {model}"), Some(name))
            }
            Place::Tuple(position) => match self.positional.get(position) {
                Some(index) => {
                    let name = self.signature.inputs()[*index].name.as_str();
                    (format!("row {row}, position {position} (`{name}`) of {model}"), Some(name))
                }
                None => (row_subject(self.signature, row), None),
            },
            Place::Between | Place::Object | Place::Features | Place::Inputs => {
                (row_subject(self.signature, row), None)
            }
        };
        Error::new(kind, place, problem, fix).at(row, field)
    }

    #[cold]
    pub(super) fn unfit_row(&self, got: &str) -> Error {
        let names = list_names(self.signature.inputs().iter().map(|port| port.name.as_str()), NAMES_SHOWN);
        let (problem, fix) = match self.signature.inputs().first() {
            None => (format!("got {got}, but the model has no inputs"), "pass no rows; use `run`".to_owned()),
            Some(first) => (
                format!("got {got}, expected an object with the inputs {names}"),
                format!("make each row an object like `{{{:?}: …}}`", first.name),
            ),
        };
        row_error(self.signature, self.rows, problem, fix)
    }

    #[cold]
    pub(super) fn unknown(&self, noun: &str, name: &str, names: Option<&Names<'_>>) -> Error {
        let known = || names.into_iter().flat_map(Names::iter);
        let fix = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if noun == "input" && self.features.is_empty() && self.sole().is_some() => {
                "pass rows as lists, or load the model with `features=` to name the columns".to_owned()
            }
            None => format!("use the model's {noun} names, and no others"),
        };
        let problem = format!("got unknown {noun} `{name}`, expected {noun}s: {}", list_names(known(), NAMES_SHOWN));
        row_error(self.signature, self.rows, problem, fix).at(self.rows, Some(name))
    }

    #[cold]
    pub(super) fn duplicate(&self, noun: &str, name: &str) -> Error {
        let problem = format!("got {noun} `{name}` twice");
        row_error(self.signature, self.rows, problem, "give each name once").at(self.rows, Some(name))
    }

    #[cold]
    pub(super) fn missing(&self, noun: &str, names: &[&str]) -> Error {
        let names_text = list_names(names.iter().copied(), NAMES_SHOWN);
        let plural = if names.len() == 1 { "" } else { "s" };
        let problem = format!("missing {noun}{plural} {names_text}");
        let are_optional = noun == "input" && names.iter().all(|name| self.is_optional(name));
        let fix = if are_optional {
            "give an optional input in all rows or in none".to_owned()
        } else {
            format!("add {names_text}; a row needs every {noun}")
        };
        row_error(self.signature, self.rows, problem, fix).at(self.rows, names.first().copied())
    }

    fn is_optional(&self, name: &str) -> bool {
        self.signature.inputs().iter().any(|port| port.name == name && !port.required)
    }
}

fn row_subject(signature: &Signature, row: usize) -> String {
    format!("row {row} for {}", signature.model())
}

#[cold]
pub(super) fn row_error(
    signature: &Signature,
    row: usize,
    problem: impl Into<String>,
    fix: impl Into<String>,
) -> Error {
    Error::new(ErrorKind::Input, row_subject(signature, row), problem, fix).at(row, None)
}

/// More rows than the caller allows; `count` of them, if that is known.
#[cold]
pub(crate) fn too_many(model: &str, count: Option<usize>, most: usize) -> Error {
    let problem = match count {
        Some(count) => format!("got {count} rows, expected at most {most}"),
        None => format!("got more than {most} rows, expected at most so many"),
    };
    Error::new(ErrorKind::Limit, model, problem, "send the rows in several requests")
}

/// Events that no row has in this order: a mistake of the caller's, not of the rows'.
#[cold]
pub(super) fn misplaced(signature: &Signature) -> Error {
    let problem = "got the events of a row in an order that no row has";
    Error::new(ErrorKind::Input, signature.model(), problem, "report this as a bug")
}

#[cold]
pub(super) fn unfit_features(signature: &Signature, features: &[String]) -> Error {
    let shapes = signature.inputs().iter().map(|port| format!("`{}` {}", port.name, port.shape_text()));
    let problem = format!(
        "got {} feature names, expected one for each column of the only required input; the inputs are {}",
        features.len(),
        shapes.take(NAMES_SHOWN).collect::<Vec<_>>().join(", ")
    );
    Error::new(ErrorKind::Input, signature.model(), problem, "pass as many names as the model has columns, or none")
}
