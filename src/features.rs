//! Names of the columns of a model's one matrix `[N, k]`, by which rows can be mappings.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ModelFacts;
use crate::signature::{Dim, Signature};

/// Those the model's metadata has, if they fit the model.
pub fn of_model<'a>(signature: &Signature, facts: &'a ModelFacts) -> Option<&'a [String]> {
    facts.features.as_deref().filter(|names| check_count(signature, names).is_ok())
}

/// Checks names that a caller gives to a model.
pub fn check(signature: &Signature, names: &[String]) -> Result<()> {
    let mut seen = HashSet::with_capacity(names.len());
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(refused(format!("got `{twice}` more than once"), "name every column once, in the model's order"));
    }
    check_count(signature, names)
}

/// Checks only that there is one matrix and as many names as columns: a reload can change either.
pub fn check_count(signature: &Signature, names: &[String]) -> Result<()> {
    let Ok(index) = signature.sole_input() else {
        let problem = format!("got names of columns, but the model has {} inputs", signature.inputs().len());
        return Err(refused(problem, "leave `features` out: the inputs have names of their own"));
    };
    let port = &signature.inputs()[index];
    match port.dims() {
        Some([_, Dim::Fixed(columns)]) if usize::try_from(*columns) != Ok(names.len()) => {
            let problem =
                format!("got {} names, expected {columns}, one for each column of input `{}`", names.len(), port.name);
            Err(refused(problem, "name every column once, in the model's order"))
        }
        Some([_, _]) => Ok(()),
        _ => {
            let problem = format!("got names of columns, but input `{}` has shape {}", port.name, port.shape_text());
            Err(refused(problem, "leave `features` out: only an input [N, k] has columns"))
        }
    }
}

fn refused(problem: String, fix: &str) -> Error {
    Error::new(ErrorKind::Option, "option `features`", problem, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::port;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_have_to_fit() {
        let (matrix, free) = ([Dim::Symbol("N".into()), Dim::Fixed(2)], [Dim::Unknown, Dim::Unknown]);
        let cases: [(&str, &[&[Dim]], &[&str], &str); 8] = [
            ("fits", &[&matrix], &["a", "b"], ""),
            ("any number", &[&free], &["a", "b", "c"], ""),
            ("too few", &[&matrix], &["a"], "got 1 names, expected 2, one for each column of input `x`"),
            ("none", &[&matrix], &[], "got 0 names"),
            ("twice", &[&matrix], &["a", "a"], "got `a` more than once"),
            ("a vector", &[&matrix[..1]], &["a"], "input `x` has shape [N]"),
            ("two inputs", &[&matrix, &matrix], &["a", "b"], "the model has 2 inputs"),
            ("no inputs", &[], &["a", "b"], "the model has 0 inputs"),
        ];
        for (name, inputs, features, expected) in cases {
            let signature = Signature::new("m", inputs.iter().map(|dims| port("x", dims)).collect(), vec![]);
            let features = names(features);
            match check(&signature, &features) {
                Ok(()) => assert_eq!(expected, "", "{name}"),
                Err(error) => {
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{name}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Option);
                }
            }
        }
    }

    #[test]
    fn metadata_that_does_not_fit_is_ignored() {
        let signature = Signature::new("m", vec![port("x", &[Dim::Unknown, Dim::Fixed(2)])], vec![]);
        for (features, fits) in [(Some(names(&["a", "b"])), true), (Some(names(&["a"])), false), (None, false)] {
            let facts = ModelFacts { features: features.clone(), ..ModelFacts::default() };
            assert_eq!(of_model(&signature, &facts), features.as_deref().filter(|_| fits));
        }
    }
}
