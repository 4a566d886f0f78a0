//! Any bytes as a body: never a panic, memory bounded by the body, and plain rows as serde_json reads them.
//!
//! `make fuzz TARGET=body`; see CONTRIBUTING.

#![no_main]

use std::sync::LazyLock;

use glowplug::json::{Body, Form, read};
use glowplug::signature::{Dim, Port, PortType, Signature};
use glowplug::tensor::{DType, Elements};
use libfuzzer_sys::fuzz_target;

const N: i64 = -1;

fn port(name: &str, dtype: DType, dims: &[i64], required: bool) -> Port {
    let dim = |size: &i64| if *size == N { Dim::Unknown } else { Dim::Fixed(*size) };
    Port { name: name.into(), port_type: PortType::Tensor(dtype, dims.iter().map(dim).collect()), required }
}

static MODELS: LazyLock<Vec<(Signature, Vec<String>)>> = LazyLock::new(|| {
    use DType::{Bool, Float16, Float32, Float64, Int8, Int64, String, Uint64};
    let open = Port { name: "x".into(), port_type: PortType::AnyRank(Float32), required: true };
    let models: Vec<(Vec<Port>, &[&str])> = vec![
        (vec![port("x", Float32, &[N, 2], true)], &[]),
        (vec![port("x", Float32, &[N, 2], true), port("scale", Float64, &[1], false)], &["p", "id"]),
        (vec![port("x", Float64, &[N], true)], &[]),
        (vec![port("x", Int8, &[N, N, 2], true)], &[]),
        (vec![port("a", Float16, &[N, 1], true), port("b", Int64, &[N], true), port("c", String, &[N, 1], true)], &[]),
        (vec![port("inputs", Uint64, &[N, 2], true), port("id", Bool, &[N], true)], &[]),
        (vec![port("x", String, &[N, N], true)], &["instances", "é"]),
        (vec![open], &[]),
        (vec![port("x", Float32, &[], true)], &[]),
        (vec![], &[]),
    ];
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    models.into_iter().map(|(inputs, names)| (Signature::new("m", inputs, vec![]), named(names))).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let which = usize::from(*first) % MODELS.len();
    let (signature, features) = &MODELS[which];
    let body = read(text, signature, (!features.is_empty()).then_some(features), usize::MAX);
    if let Ok(body) = &body {
        check_sizes(body, signature, text.len());
        check_is_json(text);
    }
    if which == 0 {
        check_rows(text, body.ok());
    }
});

/// The shape says how many elements there are, and there are no more than the text can hold.
fn check_sizes(body: &Body, signature: &Signature, text: usize) {
    for tensor in &body.inputs {
        let count: usize = tensor.shape.iter().map(|size| usize::try_from(*size).unwrap()).product();
        assert!(count <= text, "{count} elements from {text} bytes");
        match &tensor.elements {
            Elements::Owned(buffer) => {
                let size = signature.inputs()[tensor.index].dtype().unwrap().size();
                assert_eq!(buffer.as_bytes().len(), count * size);
            }
            Elements::Strings(strings) => {
                assert_eq!(strings.len(), count);
                assert!(strings.iter().map(str::len).sum::<usize>() <= text);
            }
            Elements::Raw(_) => panic!("borrowed"),
        }
    }
}

/// Whatever is taken is JSON, but for the words for numbers that JSON has none for, and for numbers beyond float64.
fn check_is_json(text: &[u8]) {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let has_words = text.windows(3).any(|part| part == b"NaN" || part == b"Inf");
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) => {}
        Err(_) if has_words => {}
        Err(error) => panic!("taken, but {error}"),
    }
}

/// Plain rows are taken just if serde_json takes them, with the same numbers.
fn check_rows(text: &[u8], body: Option<Body>) {
    let Ok(rows) = serde_json::from_slice::<Vec<[f64; 2]>>(text) else {
        return;
    };
    // Rounding to float32 is the policy; overflow is not.
    let fits = rows.iter().flatten().all(|number| (*number as f32).is_finite());
    let Some(body) = body else {
        assert!(!fits || text.len() > 4000, "plain rows refused");
        return;
    };
    assert!(fits, "overflow taken");
    assert_eq!((body.form, body.rows), (Form::Rows, rows.len()));
    let Elements::Owned(buffer) = &body.inputs[0].elements else { panic!("no numbers") };
    let got = buffer.as_bytes().as_chunks().0.iter().map(|chunk| f32::from_ne_bytes(*chunk));
    for (got, expected) in got.zip(rows.iter().flatten()) {
        // Whole numbers are rounded once, by way of float64 twice; `-0` is a whole number, which has no sign.
        let next = f32::from_bits(got.to_bits().wrapping_add(1));
        let before = f32::from_bits(got.to_bits().wrapping_sub(1));
        let expected = *expected as f32;
        assert!(got == expected || next == expected || before == expected, "{got} is not {expected}");
    }
}
