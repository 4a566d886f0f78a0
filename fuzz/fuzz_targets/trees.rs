//! Any bytes as a file of a tree library: never a panic, memory bounded by the file, and what is taken scores any row alike,
//! alone and among others.
//!
//! `make fuzz TARGET=trees`; see CONTRIBUTING.

#![no_main]

use glowplug::trees::{
    Rows, explain_catboost, explain_lightgbm, explain_lightgbm_dump, explain_native, explain_xgboost, read_catboost,
    read_lightgbm, read_lightgbm_dump, read_native, read_xgboost,
};
use libfuzzer_sys::fuzz_target;

/// Numbers that are compared in special ways.
const NUMBERS: [f64; 7] = [f64::NAN, 0.0, -1.5, 3.0, f64::INFINITY, f64::NEG_INFINITY, 1e-36];
/// Rows: enough for walks together, and for some that are left.
const COUNT: usize = 19;

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let (model, explained) = match first % 5 {
        0 => (read_lightgbm(bytes, "m"), explain_lightgbm(bytes, "m")),
        1 => (read_lightgbm_dump(bytes, "m"), explain_lightgbm_dump(bytes, "m")),
        2 => (read_xgboost(bytes, "m"), explain_xgboost(bytes, "m")),
        3 => (read_catboost(bytes, "m"), explain_catboost(bytes, "m")),
        _ => (read_native(bytes, "m"), explain_native(bytes, "m")),
    };
    let Ok(model) = model else { return };
    let trees = &model.trees;
    let (features, outputs) = (trees.features(), trees.outputs());
    // A file may name many columns and outputs in a few bytes; rows of them would only take time.
    if features > 1000 || outputs > 1000 {
        return;
    }
    let rows: Vec<f64> = (0..COUNT * features).map(|at| NUMBERS[(at * 5 + at / features) % NUMBERS.len()]).collect();
    let mut scores = vec![0.0; COUNT * outputs];
    trees.margins(Rows::Doubles(&rows), &mut scores);
    for (row, expected) in rows.chunks_exact(features).zip(scores.chunks_exact(outputs)) {
        let mut alone = vec![0.0; outputs];
        trees.margins(Rows::Doubles(row), &mut alone);
        assert!(alone.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())));
    }
    let mut leaves = vec![0; COUNT * trees.trees()];
    trees.leaves(&mut rows.clone(), &mut leaves);
    if let Ok(explained) = explained {
        let mut sums = vec![0.0; COUNT * outputs * (features + 1)];
        assert!(explained.explain(&mut rows.clone(), &mut sums, &mut || true));
    }
});
