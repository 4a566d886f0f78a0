//! The one error type: what a caller can act on, in words that name the fix.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What kind of mistake or failure it was; each kind is one exception class in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The model file, or a data file it refers to, does not exist.
    ModelNotFound,
    /// The path is there but cannot be read as a file: a folder, a pipe, no permission, an I/O error.
    ModelRead,
    /// The content is not a usable model: empty, truncated, corrupt, not ONNX, an invalid graph.
    Model,
    /// A valid model that asks for something the engine does not have: opset, operator, tensor type.
    Unsupported,
    /// The engine's shared library is missing, broken or too old.
    Library,
    /// Input or output names, rank, dimension or values do not fit the model.
    Input,
    /// The dtype of an input does not fit the model.
    InputType,
    /// A load option has a value outside its range.
    Option,
    /// The engine failed while it ran.
    Engine,
    /// Memory for a tensor or a model could not be had.
    OutOfMemory,
    /// The model was closed before the call.
    Closed,
    /// The caller asked a run to end early.
    Stopped,
    /// The time of a call was over before its run.
    Deadline,
    /// There are more rows than the caller allows.
    Limit,
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that says what it is about, what is wrong, and what to do.
///
/// It is cheap to clone, because callers that wait for the same load share its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    inner: Box<Report>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    subject: String,
    problem: String,
    fix: String,
    row: Option<usize>,
    field: Option<String>,
}

impl Error {
    /// `subject` names the file, input or option; `problem` says what was got and what was expected; `fix` what to do.
    pub fn new(
        kind: ErrorKind,
        subject: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let report =
            Report { subject: subject.into(), problem: problem.into(), fix: fix.into(), row: None, field: None };
        Self { kind, inner: Box::new(report) }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, without the subject and the fix.
    pub fn problem(&self) -> &str {
        &self.inner.problem
    }

    /// The same about one row, counted from 0, and about one of its fields.
    #[must_use]
    pub fn at(mut self, row: usize, field: Option<&str>) -> Self {
        self.inner.row = Some(row);
        self.inner.field = field.map(str::to_owned);
        self
    }

    /// The row it is about, counted from 0.
    pub fn row(&self) -> Option<usize> {
        self.inner.row
    }

    /// What it is about within the row: a feature, an input, or a position.
    pub fn field(&self) -> Option<&str> {
        self.inner.field.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { subject, problem, fix, .. } = &*self.inner;
        write!(f, "{subject}: {problem}\n  fix: {fix}")
    }
}

impl std::error::Error for Error {}

/// Does `work`, which reads or runs what others made; a panic in it, which is a bug of ours, becomes an error about `subject`.
///
/// Python's panics are no `Exception`, so one would end a server that catches everything else. `work` may leave only data of its own
/// half done.
pub fn without_panic<T>(subject: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let problem = format!("the engine failed within: {}", words.unwrap_or("no reason given"));
        let fix = "report this as a bug of glowplug; `engine=\"onnxruntime\"` may run an ONNX model meanwhile";
        Err(Error::new(ErrorKind::Engine, subject, problem, fix))
    })
}

/// The nearest of `known` to `name`, if one is near enough to be a slip of the pen.
///
/// Damerau-Levenshtein distance without transposed substrings; at most a third of the letters may differ.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Names in backticks, separated by commas; long lists are cut after `most`.
pub fn list_names<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(most).map(|name| format!("`{name}`")).collect();
    match names.len().checked_sub(most) {
        None | Some(0) => shown.join(", "),
        Some(rest) => format!("{} and {rest} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_subject_problem_and_fix() {
        let error = Error::new(ErrorKind::Input, "input `x`", "got rank 3, expected 2", "pass a matrix");
        assert_eq!(error.to_string(), "input `x`: got rank 3, expected 2\n  fix: pass a matrix");
        assert_eq!(error.kind(), ErrorKind::Input);
    }

    #[test]
    fn panics_are_errors() {
        let fail = |index: usize| without_panic("m.onnx", || Ok([1, 2][index]));
        assert_eq!(fail(1), Ok(2));
        let error = fail(2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(error.to_string().starts_with("m.onnx: the engine failed within: index out of bounds"), "{error}");
    }

    #[test]
    fn nearest_finds_slips_only() {
        let known = ["amount", "merchant", "hour"];
        for (name, expected) in [
            ("amonut", Some("amount")),
            ("Amount", Some("amount")),
            ("merchent", Some("merchant")),
            ("houre", Some("hour")),
            ("x", None),
            ("country", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list_names(["a", "b"], 3), "`a`, `b`");
        assert_eq!(list_names(["a", "b", "c"], 3), "`a`, `b`, `c`");
        assert_eq!(list_names(["a", "b", "c", "d"], 2), "`a`, `b` and 2 more");
        assert_eq!(list_names([], 2), "");
    }
}
