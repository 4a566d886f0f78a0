//! Which sets of instructions kernels may use: of those that the processor has, what a variable leaves.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

/// The variable with which a user keeps kernels from some of the processor's instructions.
const VARIABLE: &str = "GLOWPLUG_INSTRUCTIONS";

/// Instructions, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the architecture has.
    Baseline,
    /// AVX2.
    Avx2,
    /// AVX-512.
    Avx512,
}

/// What the variable allows; an error if it is wrong.
pub fn check_instructions() -> Result<()> {
    usual().clone().map(|_| ())
}

/// The first of `available`, which are best first, that the variable allows; it is read once.
pub fn best<T>(available: Vec<T>, level: impl Fn(&T) -> Level) -> Option<T> {
    // A wrong variable has ended the load of the model.
    let most = usual().as_ref().map_or(Level::Baseline, |most| *most);
    available.into_iter().find(|instructions| level(instructions) <= most)
}

/// Whether there are AVX-512 F, BW, DQ and VL.
#[cfg(target_arch = "x86_64")]
pub fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

fn usual() -> &'static Result<Level> {
    static USUAL: OnceLock<Result<Level>> = OnceLock::new();
    USUAL.get_or_init(|| allowed(&std::env::var(VARIABLE).unwrap_or_default()))
}

/// The level that `asked` names, or the highest.
fn allowed(asked: &str) -> Result<Level> {
    match asked.trim() {
        "" | "avx512" => Ok(Level::Avx512),
        "avx2" => Ok(Level::Avx2),
        "baseline" => Ok(Level::Baseline),
        _ => {
            let problem = format!("got {asked:?}, expected `baseline`, `avx2` or `avx512`");
            let fix = "unset it to let glowplug use what the processor has";
            Err(Error::new(ErrorKind::Option, format!("environment variable {VARIABLE}"), problem, fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_takes_instructions_away() {
        let cases = [("", Level::Avx512), (" ", Level::Avx512), ("avx512", Level::Avx512)];
        for (asked, expected) in cases.into_iter().chain([(" avx2 ", Level::Avx2), ("baseline", Level::Baseline)]) {
            assert_eq!(allowed(asked).unwrap(), expected, "{asked:?}");
        }
        for asked in ["AVX2", "sse", "1"] {
            let error = allowed(asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Option);
            assert!(error.to_string().contains(asked) && error.to_string().contains(VARIABLE), "{error}");
        }
    }
}
