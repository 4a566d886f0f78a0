//! Turns the library's errors into ours: the kind a caller can act on, and the fix.

use ::ort::error::ErrorCode;

use crate::error::{Error, ErrorKind};

/// A failed session creation.
pub(super) fn creation_failed(subject: &str, code: ErrorCode, message: &str) -> Error {
    let message = clean(message);
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let (kind, fix) = if has(&["bad_alloc", "Failed to allocate", "bad allocation", "out of memory"]) {
        (ErrorKind::OutOfMemory, "give the process more memory, or make the model smaller, for example by quantisation")
    } else if has(&["is under development", "opset", "Opset", "ir_version", "IR version"]) {
        (
            ErrorKind::Unsupported,
            "export the model with an opset that the engine knows (`glowplug.explain()` of any model shows its version)",
        )
    } else if code == ErrorCode::NotImplemented
        || has(&[
            "is not a registered function/op",
            "No Op registered",
            "No opset import",
            "Could not find an implementation",
        ])
    {
        (ErrorKind::Unsupported, "export the model with standard ONNX operators")
    } else if code == ErrorCode::NoSuchFile {
        (ErrorKind::ModelNotFound, "check the path")
    } else if code == ErrorCode::InvalidProtobuf {
        (ErrorKind::Model, "the file is truncated, corrupt or not ONNX; export or download it again")
    } else {
        (ErrorKind::Model, "export the model again and check it with `onnx.checker.check_model`")
    };
    Error::new(kind, subject, format!("the engine refuses the model: {message}"), fix)
}

/// A failed run.
pub(super) fn run_failed(subject: &str, message: &str) -> Error {
    let message = clean(message);
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["bad_alloc", "Failed to allocate", "bad allocation", "out of memory"]) {
        let fix = "pass fewer rows per call, or give the process more memory";
        return Error::new(ErrorKind::OutOfMemory, subject, format!("the engine ran out of memory: {message}"), fix);
    }
    let fix = "check that the values and shapes of the inputs are those the model was made for";
    Error::new(ErrorKind::Engine, subject, format!("the engine failed while running: {message}"), fix)
}

/// The library's message without the path of its own source file, which means nothing to a user.
fn clean(message: &str) -> String {
    let message = message.trim();
    let start = message.find(" /").filter(|_| message.contains(".cc:")).unwrap_or(message.len());
    let (head, rest) = message.split_at(start);
    // "… /onnxruntime_src/…/graph.cc:123 SomeFunction(args) reason": the reason starts after the signature.
    match rest.split_once(") ") {
        Some((_, reason)) if !reason.is_empty() => format!("{head} {reason}").trim().to_owned(),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_from_code_and_words() {
        let cases = [
            (ErrorCode::NoSuchFile, "gone", ErrorKind::ModelNotFound),
            (ErrorCode::InvalidProtobuf, "Protobuf parsing failed.", ErrorKind::Model),
            (ErrorCode::GenericFailure, "com.x:Foo(-1) is not a registered function/op", ErrorKind::Unsupported),
            (ErrorCode::NotImplemented, "Could not find an implementation for Foo(1)", ErrorKind::Unsupported),
            (ErrorCode::GenericFailure, "Opset 999 is under development", ErrorKind::Unsupported),
            (ErrorCode::GenericFailure, "std::bad_alloc", ErrorKind::OutOfMemory),
            (ErrorCode::InvalidGraph, "This is an invalid model.", ErrorKind::Model),
        ];
        for (code, message, kind) in cases {
            let error = creation_failed("m.onnx", code, message);
            assert_eq!(error.kind(), kind, "{message}");
            assert!(error.to_string().contains("fix: "));
        }
        let error = run_failed("m", "Failed to allocate memory for requested buffer of size 9");
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    }

    #[test]
    fn source_paths_are_left_out() {
        let message = "Load model failed: /onnxruntime_src/core/graph/model.cc:181 onnxruntime::Model::Model(x, const y&) Unsupported thing";
        assert_eq!(clean(message), "Load model failed: Unsupported thing");
        assert_eq!(clean(" plain reason "), "plain reason");
    }
}
