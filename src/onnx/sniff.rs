//! Recognises files that are often mistaken for models, so that an error can say what they are.

/// What `head`, the first bytes of a file, looks like, and what to do about it.
pub fn looks_like(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const MARKS: &[(&[u8], &str, &str)] = &[
        (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with `git lfs pull`"),
        (b"<<<<<<< ", "a file with a Git merge conflict", "resolve the conflict by choosing one version of the model"),
        (b"\x89PNG", "a PNG picture", "pass the path of the .onnx file"),
        (b"PK\x03\x04", "a ZIP archive", "unpack it and pass the path of the .onnx file inside"),
        (b"\x1f\x8b", "gzip-compressed data", "decompress it first, for example with `gzip.decompress`"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed data", "decompress it first"),
        (b"\x80\x02", PICKLE, PICKLE_FIX),
        (b"\x80\x03", PICKLE, PICKLE_FIX),
        (b"\x80\x04", PICKLE, PICKLE_FIX),
        (b"\x80\x05", PICKLE, PICKLE_FIX),
        (b"CBM1", "CatBoost's binary file", "write it as JSON: `save_model(\"model.json\", format=\"json\")`"),
        (b"booster[", "a dump of XGBoost's trees", "write the model itself: `save_model(\"model.json\")`"),
        (b"\x89HDF", "an HDF5 file", "convert the model to ONNX, for example with tf2onnx"),
        (b"\x93NUMPY", "a NumPy array", "pass the path of the .onnx file"),
    ];
    const PICKLE: &str = "a Python pickle";
    const PICKLE_FIX: &str =
        "convert the estimator with `glowplug.convert.from_sklearn`, or the model to ONNX, for example with skl2onnx";
    let marked = MARKS.iter().find(|(mark, ..)| head.starts_with(mark));
    if let Some((_, what, fix)) = marked {
        return Some((what, fix));
    }
    let text = head.trim_ascii_start();
    let starts = |mark: &[u8]| text.len() >= mark.len() && text[..mark.len()].eq_ignore_ascii_case(mark);
    if starts(b"<!doctype") || starts(b"<html") || starts(b"<?xml") {
        Some((
            "an HTML or XML page",
            "the download answered with a page instead of the model; check its URL and credentials",
        ))
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        Some(("JSON text of no tree library that is known", "pass the path of the model's own file"))
    } else if head.len() >= 8 && head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        Some(("plain text", "pass the path of the .onnx file"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_mistakes_are_recognised() {
        let cases: [(&[u8], Option<&str>); 12] = [
            (b"version https://git-lfs.github.com/spec/v1\n", Some("Git LFS")),
            (b"\n <!DOCTYPE html>", Some("HTML")),
            (b"{\"a\": 1}", Some("JSON")),
            (b"\x1f\x8b\x08", Some("gzip")),
            (b"PK\x03\x04", Some("ZIP")),
            (b"\x80\x05\x95", Some("pickle")),
            (b"CBM1\x08\x65", Some("CatBoost")),
            (b"booster[0]:\n0:[a<1]", Some("dump")),
            (b"hello world", Some("plain text")),
            (b"\x08\x0a\x12\x07pytorch", None),
            (b"\x00\x00\x00\x00\x00\x00\x00\x00", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            let got = looks_like(head).map(|(what, _)| what);
            assert_eq!(got.is_some(), expected.is_some(), "{head:?}: {got:?}");
            assert!(got.unwrap_or_default().contains(expected.unwrap_or_default()), "{head:?}: {got:?}");
        }
    }
}
