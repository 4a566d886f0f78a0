//! Any bytes as an ONNX model: never a panic, memory bounded by the file, and what glowplug's own engines take answers any row
//! alike, alone and among others.
//!
//! `make fuzz TARGET=graphs`; see CONTRIBUTING.

#![no_main]

use glowplug::digest::Digest;
use glowplug::error::{Error, ErrorKind};
use glowplug::loader::EngineLoader;
use glowplug::onnx::{looks_like, not_row_wise};
use glowplug::options::{EngineChoice, LoadOptions};
use glowplug::registry::{Loader, facts_of_bytes};
use glowplug::session::{Origin, Session};
use glowplug::signature::{Dim, Port, PortType};
use glowplug::tensor::{Buffer, DType, Elements, InputTensor, OutputRequest, Shape, Strings, Value};
use libfuzzer_sys::fuzz_target;

/// Numbers that are compared and rounded in special ways, as every dtype has them.
const NUMBERS: [f64; 11] =
    [f64::NAN, 0.0, -0.0, -1.5, 3.0, f64::INFINITY, f64::NEG_INFINITY, 1e-42, 0.5, -1.0, 1e30];
const TEXTS: [&str; 6] = ["", "a", "naïve 🙂", "-1", "3", "x\0y"];
/// Rows: enough for tiles of a product, and for some that are left.
const COUNT: usize = 15;
/// Elements of an input, at most: a file may name many columns in a few bytes, and they would only take time.
const MOST: usize = 1 << 14;

fuzz_target!(|data: &[u8]| {
    if let Ok(facts) = facts_of_bytes(data) {
        let outputs: Vec<&str> = facts.graph.outputs.iter().map(String::as_str).collect();
        not_row_wise(&facts.graph, &facts.opsets, &outputs);
    }
    looks_like(data);
    let no_runtime = || Err(Error::new(ErrorKind::Unsupported, "ONNX Runtime", "is not asked", "ask glowplug"));
    let options = LoadOptions { engine: EngineChoice::Native, ..LoadOptions::default() };
    let origin = Origin::Bytes(Digest::of_bytes(data), data.len() as u64);
    let Ok(session) = EngineLoader { runtime: no_runtime }.load_bytes(data, origin, &options) else { return };
    let ports = session.signature().inputs();
    let Some(inputs) = ports.iter().enumerate().map(|(index, port)| input(index, port)).collect() else { return };
    let inputs: Vec<InputTensor> = inputs;
    let Some(together) = run(&session, &inputs) else { return };
    for row in 0..COUNT {
        let alone: Option<Vec<InputTensor>> = inputs.iter().map(|input| input.rows(row..row + 1)).collect();
        // One row can be an error that many are not, and the other way round, only where texts are no numbers or ids are none.
        let Some(alone) = alone.and_then(|alone| run(&session, &alone)) else { continue };
        together.iter().zip(&alone).for_each(|(together, alone)| check(together, alone, row));
    }
});

/// Rows of special values for an input, unless it does not take as many rows as there are.
fn input(index: usize, port: &Port) -> Option<InputTensor> {
    let PortType::Tensor(dtype, dims) = &port.port_type else { return None };
    let (first, others) = dims.split_first()?;
    if matches!(first, Dim::Fixed(_)) {
        return None;
    }
    let mut shape: Shape = others.iter().map(|dim| if let Dim::Fixed(size) = dim { *size } else { 2 }).collect();
    let each = shape.iter().try_fold(1_usize, |each, size| each.checked_mul(usize::try_from(*size).ok()?))?;
    let count = each.checked_mul(COUNT).filter(|count| *count <= MOST)?;
    shape.insert(0, COUNT as i64);
    let numbers = (0..count).map(|at| NUMBERS[(at * 5 + at / each.max(1)) % NUMBERS.len()]);
    let mut buffer = Buffer::zeroed(count * dtype.size());
    let bytes = buffer.as_bytes_mut();
    match dtype {
        DType::String => {
            let texts: Strings = (0..count).map(|at| TEXTS[(at * 5 + at / each.max(1)) % TEXTS.len()]).collect();
            return Some(InputTensor { index, shape, elements: Elements::Strings(texts) });
        }
        DType::Float32 => fill(bytes, numbers.map(|number| (number as f32).to_ne_bytes())),
        DType::Float64 => fill(bytes, numbers.map(f64::to_ne_bytes)),
        DType::Int64 => fill(bytes, numbers.map(|number| (number as i64).to_ne_bytes())),
        DType::Int32 => fill(bytes, numbers.map(|number| (number as i32).to_ne_bytes())),
        DType::Bool => fill(bytes, numbers.map(|number| [u8::from(number > 0.0)])),
        _ => bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37) as u8),
    }
    Some(InputTensor { index, shape, elements: Elements::Owned(buffer) })
}

fn fill<const SIZE: usize>(bytes: &mut [u8], numbers: impl Iterator<Item = [u8; SIZE]>) {
    bytes.chunks_exact_mut(SIZE).zip(numbers).for_each(|(to, number)| to.copy_from_slice(&number));
}

/// All outputs, or nothing if they cannot be computed for these rows.
fn run(session: &Session, inputs: &[InputTensor]) -> Option<Vec<Value>> {
    let inputs: Vec<InputTensor> = inputs.iter().filter_map(InputTensor::borrowed).collect();
    let outputs = 0..session.signature().outputs().len();
    let mut requests: Vec<OutputRequest> = outputs.map(|index| OutputRequest { index, buffer: None }).collect();
    session.run(&inputs, &mut requests, None).ok()
}

/// A row is the same alone, up to which NaN it is.
fn check(together: &Value, alone: &Value, row: usize) {
    match (together, alone) {
        (Value::Tensor(many), Value::Tensor(one)) if many.shape.first() == Some(&(COUNT as i64)) => {
            let (expected, got) = (many.storage.bytes(), one.storage.bytes());
            let expected = &expected[row * got.len()..][..got.len()];
            let same = match many.dtype {
                DType::Float32 => same(got, expected, |bytes| f32::from_ne_bytes(bytes).into()),
                DType::Float64 => same(got, expected, f64::from_ne_bytes),
                _ => got == expected,
            };
            assert!(same, "row {row} is {got:?} alone and {expected:?} among others");
        }
        (Value::Strings(shape, many), Value::Strings(_, one)) if shape.first() == Some(&(COUNT as i64)) => {
            assert_eq!(*one, many.part(row * one.len()..(row + 1) * one.len()), "row {row}");
        }
        (Value::Sequence(many), Value::Sequence(one)) => assert!(many.len() == COUNT && one.len() == 1),
        _ => {}
    }
}

fn same<const SIZE: usize>(got: &[u8], expected: &[u8], number: impl Fn([u8; SIZE]) -> f64) -> bool {
    let pairs = got.as_chunks::<SIZE>().0.iter().zip(expected.as_chunks::<SIZE>().0);
    pairs.into_iter().all(|(got, expected)| got == expected || number(*got).is_nan() && number(*expected).is_nan())
}
