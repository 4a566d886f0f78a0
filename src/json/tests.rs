//! Bodies as inputs, or as errors; whole answers are compared with NumPy's in `tests/test_json.py`.

mod answers;
mod binary;

use super::*;
use crate::onnx::Classes;
use crate::probabilities;
use crate::signature::{Dim, Port, PortType, Signature};
use crate::tensor::{Buffer, DType, Elements, EngineTensor};

const N: i64 = -1;

fn port(name: &str, dtype: DType, dims: &[i64]) -> Port {
    let dim = |size: &i64| if *size == N { Dim::Symbol("N".into()) } else { Dim::Fixed(*size) };
    let port_type = PortType::Tensor(dtype, dims.iter().map(dim).collect());
    Port { name: name.into(), port_type, required: true }
}

/// Models by what is in their name.
fn signature(kind: &str) -> Signature {
    use DType::{Bool, Float32, Float64, Int64, String, Uint8};
    let inputs = match kind {
        "matrix" => vec![port("x", Float32, &[N, 2])],
        "double" => vec![port("x", Float64, &[N])],
        "column" => vec![port("x", Float32, &[N, 1])],
        "whole" => vec![port("x", Int64, &[N])],
        "byte" => vec![port("x", Uint8, &[N])],
        "flag" => vec![port("x", Bool, &[N])],
        "text" => vec![port("x", String, &[N])],
        "deep" => vec![port("x", Float32, &[N, 2, 1])],
        "columns" => vec![port("amount", Float32, &[N, 1]), port("hour", Int64, &[N]), port("shop", String, &[N, 1])],
        "mixed" => vec![port("a", Float32, &[N, 2]), port("b", Int64, &[N])],
        "envelope" => vec![port("inputs", Float32, &[N, 2])],
        "id" => vec![port("id", Float32, &[N]), port("instances", Float32, &[N])],
        "open" => vec![Port { name: "x".into(), port_type: PortType::AnyRank(Float32), required: true }],
        other => panic!("{other}"),
    };
    Signature::new("m", inputs, vec![])
}

fn shown(signature: &Signature, tensor: &InputTensor) -> String {
    fn all<const SIZE: usize, T: std::fmt::Debug>(bytes: &[u8], make: fn([u8; SIZE]) -> T) -> String {
        format!("{:?}", bytes.as_chunks::<SIZE>().0.iter().map(|chunk| make(*chunk)).collect::<Vec<T>>())
    }
    let elements = match &tensor.elements {
        Elements::Owned(buffer) => match signature.inputs()[tensor.index].dtype() {
            Some(DType::Int64) => all(buffer.as_bytes(), i64::from_ne_bytes),
            Some(DType::Float64) => all(buffer.as_bytes(), f64::from_ne_bytes),
            Some(DType::Float32) => all(buffer.as_bytes(), f32::from_ne_bytes),
            _ => format!("{:?}", buffer.as_bytes()),
        },
        Elements::Strings(strings) => format!("{:?}", strings.iter().collect::<Vec<_>>()),
        Elements::Raw(_) => "raw".to_owned(),
    };
    format!("{}{:?} {elements}", signature.inputs()[tensor.index].name, &tensor.shape[..])
}

/// The form and the inputs of a body.
fn body(kind: &str, text: &[u8], features: Option<&[String]>) -> Result<String, String> {
    let signature = signature(kind);
    let Body { inputs, form, rows } =
        read(text, &signature, features, usize::MAX).map_err(|error| error.to_string())?;
    let inputs: Vec<String> = inputs.iter().map(|tensor| shown(&signature, tensor)).collect();
    let form = match form {
        Form::Protocol { id, outputs, .. } => {
            let names = outputs.map(|outputs| outputs.into_iter().map(|output| output.name).collect::<Vec<_>>());
            format!("Protocol {id:?} {names:?}")
        }
        form => format!("{form:?}"),
    };
    Ok(format!("{form} {rows}: {}", inputs.join(" ")))
}

#[test]
#[allow(clippy::too_many_lines)]
fn bodies_are_read() {
    let names = ["p".to_owned(), "q".to_owned()];
    let cases: [(&str, bool, &str, &str); 53] = [
        ("matrix", false, "[[1, 2.5], [3, -4e1]]", "Rows 2: x[2, 2] [1.0, 2.5, 3.0, -40.0]"),
        ("matrix", false, " [ ] ", "Rows 0: x[0, 2] []"),
        ("matrix", false, "[1, 2]", "Row 1: x[1, 2] [1.0, 2.0]"),
        ("matrix", false, "\u{feff}[1, 2]", "Row 1: x[1, 2] [1.0, 2.0]"),
        ("matrix", false, "[[null, NaN], [Infinity, -Infinity]]", "Rows 2: x[2, 2] [NaN, NaN, inf, -inf]"),
        (
            "matrix",
            false,
            "[[-0.0, 1e-400], [true, 9007199254740993]]",
            "Rows 2: x[2, 2] [-0.0, 0.0, 1.0, 9007199000000000.0]",
        ),
        (
            "matrix",
            false,
            "[[18446744073709551615, 1e30], [0.1, 123456789012345678901234567890]]",
            "Rows 2: x[2, 2] [1.8446744e19, 1e30, 0.1, 1.2345679e29]",
        ),
        ("matrix", false, r#"{"x": [1, 2]}"#, "Row 1: x[1, 2] [1.0, 2.0]"),
        ("matrix", true, r#"{"q": 2, "p": 1}"#, "Row 1: x[1, 2] [1.0, 2.0]"),
        ("matrix", true, r#"[{"q": 2, "p": 1}, [3, 4]]"#, "Rows 2: x[2, 2] [1.0, 2.0, 3.0, 4.0]"),
        ("matrix", true, r#"{"\u0070": 1, "q": 2}"#, "Row 1: x[1, 2] [1.0, 2.0]"),
        ("double", false, "[0.1, 1e308, 4.9e-324]", "Rows 3: x[3] [0.1, 1e308, 5e-324]"),
        ("double", false, "5", "Row 1: x[1] [5.0]"),
        ("double", false, "-Infinity", "Row 1: x[1] [-inf]"),
        ("column", false, "[1, 2]", "Rows 2: x[2, 1] [1.0, 2.0]"),
        ("column", false, "[[1], 2]", "Rows 2: x[2, 1] [1.0, 2.0]"),
        (
            "whole",
            false,
            "[9223372036854775807, -9223372036854775808, 1.0, 2e2]",
            "Rows 4: x[4] [9223372036854775807, -9223372036854775808, 1, 200]",
        ),
        ("whole", false, "[9007199254740993, true]", "Rows 2: x[2] [9007199254740993, 1]"),
        ("byte", false, "[0, 255]", "Rows 2: x[2] [0, 255]"),
        ("flag", false, "[true, false]", "Rows 2: x[2] [1, 0]"),
        ("text", false, r#"["", "é", "\ud83d\ude42\n"]"#, r#"Rows 3: x[3] ["", "é", "🙂\n"]"#),
        ("text", false, r#""one""#, r#"Row 1: x[1] ["one"]"#),
        ("deep", false, "[[[1], [2]]]", "Rows 1: x[1, 2, 1] [1.0, 2.0]"),
        ("open", false, "[1, 2, 3]", "Rows 3: x[3] [1.0, 2.0, 3.0]"),
        ("open", false, "[[1], [2]]", "Rows 2: x[2, 1] [1.0, 2.0]"),
        ("columns", false, r#"[1, 2, "a"]"#, r#"Row 1: amount[1, 1] [1.0] hour[1] [2] shop[1, 1] ["a"]"#),
        (
            "columns",
            false,
            r#"[[1, 2, "a"], {"hour": 5, "shop": "b", "amount": 4}]"#,
            r#"Rows 2: amount[2, 1] [1.0, 4.0] hour[2] [2, 5] shop[2, 1] ["a", "b"]"#,
        ),
        ("mixed", false, r#"{"b": 3, "a": [1, 2]}"#, "Row 1: a[1, 2] [1.0, 2.0] b[1] [3]"),
        ("matrix", false, r#"{"instances": [[1, 2]]}"#, "Instances 1: x[1, 2] [1.0, 2.0]"),
        ("matrix", false, r#"{"instances": []}"#, "Instances 0: x[0, 2] []"),
        (
            "matrix",
            false,
            r#"{"signature_name": "s", "parameters": {"a": [1, {}]}, "instances": [{"x": [1, 2]}], "id": 7}"#,
            "Instances 1: x[1, 2] [1.0, 2.0]",
        ),
        (
            "matrix",
            false,
            r#"{"id": "1", "model_name": "m", "model_version": null, "inputs": [[1, 2]]}"#,
            "Columns 1: x[1, 2] [1.0, 2.0]",
        ),
        (
            "mixed",
            false,
            r#"{"instances": [{"a": [1, 2], "b": 3}, {"b": 6, "a": [4, 5]}]}"#,
            "Instances 2: a[2, 2] [1.0, 2.0, 4.0, 5.0] b[2] [3, 6]",
        ),
        ("matrix", false, r#"{"inputs": [[1, 2], [3, 4]]}"#, "Columns 2: x[2, 2] [1.0, 2.0, 3.0, 4.0]"),
        ("matrix", false, r#"{"inputs": {"x": [[1, 2]]}}"#, "Columns 1: x[1, 2] [1.0, 2.0]"),
        (
            "mixed",
            false,
            r#"{"inputs": {"b": [5, 6], "a": [[1, 2], [3, 4]]}}"#,
            "Columns 2: b[2] [5, 6] a[2, 2] [1.0, 2.0, 3.0, 4.0]",
        ),
        ("column", false, r#"{"inputs": {"x": [1, 2]}}"#, "Columns 2: x[2, 1] [1.0, 2.0]"),
        (
            "matrix",
            false,
            r#"{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}"#,
            "Protocol None None 2: x[2, 2] [1.0, 2.0, 3.0, 4.0]",
        ),
        (
            "matrix",
            false,
            r#"{"id": "7\"", "inputs": [{"data": [[1, 2]], "datatype": "INT32", "shape": [1, 2], "name": "x"}], "outputs": [{"name": "y", "parameters": {"binary_data": false}}]}"#,
            r#"Protocol Some("7\"") Some(["y"]) 1: x[1, 2] [1.0, 2.0]"#,
        ),
        (
            "matrix",
            false,
            r#"{"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2], "parameters": {"content_type": "np"}}], "outputs": []}"#,
            "Protocol None None 1: x[1, 2] [1.0, 2.0]",
        ),
        (
            "matrix",
            false,
            r#"{"inputs": [{"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}]}"#,
            "Protocol None None 0: x[0, 2] []",
        ),
        (
            "whole",
            false,
            r#"{"inputs": [{"name": "x", "shape": [2], "datatype": "BOOL", "data": [true, false]}]}"#,
            "Protocol None None 2: x[2] [1, 0]",
        ),
        (
            "text",
            false,
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}"#,
            r#"Protocol None None 1: x[1] ["a"]"#,
        ),
        // Names of the model that envelopes have as well.
        ("envelope", false, r#"{"inputs": [1, 2]}"#, "Row 1: inputs[1, 2] [1.0, 2.0]"),
        ("envelope", false, r#"{"inputs": [[1, 2]]}"#, "Columns 1: inputs[1, 2] [1.0, 2.0]"),
        ("envelope", false, r#"{"inputs": {"inputs": [[1, 2]]}}"#, "Columns 1: inputs[1, 2] [1.0, 2.0]"),
        ("envelope", false, r#"{"instances": [{"inputs": [1, 2]}]}"#, "Instances 1: inputs[1, 2] [1.0, 2.0]"),
        ("envelope", false, r#"[{"inputs": [1, 2]}]"#, "Rows 1: inputs[1, 2] [1.0, 2.0]"),
        ("id", false, r#"{"id": 1, "instances": 2}"#, "Row 1: id[1] [1.0] instances[1] [2.0]"),
        ("id", false, r#"{"instances": 2, "id": 1}"#, "Row 1: id[1] [1.0] instances[1] [2.0]"),
        (
            "id",
            false,
            r#"{"id": "a", "instances": [{"id": 1, "instances": 2}]}"#,
            "Instances 1: id[1] [1.0] instances[1] [2.0]",
        ),
        (
            "id",
            false,
            r#"{"id": "a", "inputs": {"id": [1], "instances": [2]}}"#,
            "Columns 1: id[1] [1.0] instances[1] [2.0]",
        ),
        ("id", false, "[[1, 2]]", "Rows 1: id[1] [1.0] instances[1] [2.0]"),
    ];
    for (kind, named, text, expected) in cases {
        assert_eq!(body(kind, text.as_bytes(), named.then_some(&names)).as_deref(), Ok(expected), "{kind} {text}");
    }
}

#[test]
#[allow(clippy::too_many_lines)]
fn bad_bodies_are_refused() {
    let names = ["p".to_owned(), "q".to_owned()];
    let deep = "[".repeat(100_000);
    let deep_parameters = format!(r#"{{"parameters": {deep}"#);
    let long = format!("[{}]", "9".repeat(5000));
    let cases: Vec<(&str, &str, &str)> = vec![
        ("matrix", "", "is empty"),
        ("matrix", " \n\t", "is empty"),
        ("matrix", "[[1, 2]", "not valid JSON: EOF while parsing a list, at line 1, column 7"),
        ("matrix", "[[1, 2]]\n x", "text follows after the end, at line 2, column 2"),
        ("matrix", "[[1, 2],]", "trailing comma"),
        ("matrix", "[[01, 2]]", "invalid number"),
        ("matrix", "[[1., 2]]", "invalid number"),
        ("matrix", "[[+1, 2]]", "expected value"),
        ("matrix", "[['a', 2]]", "expected value"),
        ("matrix", "[[nul, 2]]", "expected ident"),
        ("matrix", "nonsense", "expected ident"),
        ("matrix", "[[1, 2], [1, 2, 3]]", "row 1, input `x` of m: got 3 values, expected 2"),
        ("matrix", "[[1, 2], 5]", "row 1, input `x` of m: got 5, expected a list of 2 values"),
        ("matrix", "[1, [2]]", "row 0, position 1 of input `x` of m: got a list"),
        ("matrix", "[1, 2, 3]", "row 0, input `x` of m: got 3 values, expected 2"),
        ("matrix", "5", "row 0, input `x` of m: got 5, expected a list of 2 values"),
        ("matrix", "[[1, 1e39]]", "row 0, position 1 of input `x` of m: got 1e39, expected a number that fits float32"),
        ("matrix", "[[1, 1e400]]", "got a number beyond float64, expected a number that fits float32"),
        ("matrix", "[[1, -1e400]]", "got a number beyond float64"),
        (
            "double",
            "[1e309]",
            "row 0, input `x` of m: got a number beyond float64, expected a number that fits float64",
        ),
        ("matrix", &long, "a number has too many digits"),
        ("matrix", "[[1, \"2\"]]", "got the text \"2\", expected a number (float32)"),
        ("matrix", "[[1, {}]]", "got an object inside a row"),
        ("matrix", "{}", "missing input `x`"),
        ("matrix", &deep, "row 0, position 0 of input `x` of m: got a list, expected one value"),
        ("open", &deep, "nested 32 deep"),
        ("matrix", &deep_parameters, "lists are nested too deep"),
        ("matrix", r#"{"x": [1, 2], "x": [1, 2]}"#, "row 0 for m: got input `x` twice"),
        ("features", r#"[{"p": 1, "p": 2}]"#, "row 0 for m: got feature `p` twice"),
        ("features", r#"{"p": 1}"#, "missing feature `q`"),
        ("features", r#"{"p": 1, "q": 2, "r": 3}"#, "got unknown feature `r`"),
        ("features", r#"{"id": 1, "p": 1, "q": 2}"#, "got unknown feature `id`"),
        ("whole", "[1.5]", "row 0, input `x` of m: got 1.5, expected a whole number (int64)"),
        ("whole", "[1, null]", "row 1, input `x` of m: got null, expected a whole number (int64)"),
        ("whole", "[NaN]", "got NaN, expected a whole number"),
        (
            "whole",
            "[9223372036854775808]",
            "got 9223372036854775808, expected -9223372036854775808 to 9223372036854775807",
        ),
        ("whole", "[1e300]", "got 1e300, expected -9223372036854775808"),
        ("whole", "[9007199254740993.0]", "stands for several whole numbers"),
        ("byte", "[1, 256]", "row 1, input `x` of m: got 256, expected 0 to 255 for uint8"),
        ("byte", "[-1]", "got -1, expected 0 to 255"),
        ("flag", "[1]", "got 1, expected true or false (bool)"),
        ("flag", "[null]", "got null"),
        ("text", "[1]", "got 1, expected text"),
        ("text", r#"["\ud800"]"#, "unexpected end of hex escape"),
        ("text", r#"["\ud800\u0041"]"#, "lone leading surrogate"),
        ("text", r#"["\udc00"]"#, "not valid JSON"),
        ("text", "[\"a\nb\"]", "control character"),
        ("text", r#"["\x41"]"#, "invalid escape"),
        ("columns", "[1, 2]", "got 2 values, expected 3"),
        ("columns", r#"{"amount": 1, "hour": 2}"#, "missing input `shop`"),
        ("columns", r#"{"amount": 1, "houre": 2}"#, "did you mean `hour`?"),
        ("mixed", "[[1, 2]]", "got a list, expected an object with the inputs `a`, `b`"),
        ("matrix", r#"{"instances": {"x": [1, 2]}}"#, "something else than a list for `instances`"),
        ("matrix", r#"{"instances": [1, 2]}"#, "row 0, input `x` of m: got 1, expected a list"),
        ("matrix", r#"{"instances": [[1, 2]], "instances": []}"#, "got the key `instances` twice"),
        ("matrix", r#"{"instances": [[1, 2]], "inputs": []}"#, "got both `instances` and `inputs`"),
        ("matrix", r#"{"instances": [[1, 2]], "extra": 1}"#, "got unknown key `extra`"),
        ("matrix", r#"{"instances": [[1, 2]], "outputs": [{"name": "y"}]}"#, "only the Open Inference Protocol has"),
        ("matrix", r#"{"inputs": 5}"#, "something else than a list or object for `inputs`"),
        ("matrix", r#"{"inputs": {"z": [[1, 2]]}}"#, "got unknown input `z`"),
        ("matrix", r#"{"inputs": {"x": [[1, 2]], "x": []}}"#, "got input `x` twice"),
        ("matrix", r#"{"inputs": {"x": [[1, 2], [3]]}}"#, "row 1, input `x` of m: got 1 values, expected 2"),
        ("matrix", r#"{"inputs": {"x": [[1, {}]]}}"#, "got an object, expected values"),
        ("matrix", r#"{"inputs": [{"name": "x"}]}"#, "a tensor of `inputs` lacks `shape`, `datatype`, `data`"),
        ("matrix", r#"{"inputs": [{"p": 1, "q": 2}]}"#, "rows of named values go into `instances`"),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1]}]}"#,
            "got 1 values, expected 2 by its shape",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, "a"]}]}"#,
            "row 1, element 3 of input `x`",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3]]}]}"#,
            "row 1, input `x` of m: got 1 values, expected 2 by its shape",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}"#,
            "got shape [1, 3]",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [-1, 2], "datatype": "FP32", "data": [1, 2]}]}"#,
            "not a list of at most 32 sizes",
        ),
        (
            "open",
            r#"{"inputs": [{"name": "x", "shape": [4611686018427387904, 4], "datatype": "FP32", "data": []}]}"#,
            "too many elements",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP31", "data": [1, 2]}]}"#,
            "unknown datatype `FP31`",
        ),
        (
            "whole",
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#,
            "got datatype FP32, expected INT64",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}"#,
            "`binary_data_size`: tensors outside the JSON text",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}]}"#,
            "`shared_memory_region`: tensors in shared memory",
        ),
        (
            "text",
            r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["YQ=="], "parameters": {"content_type": "base64"}}]}"#,
            "`content_type` base64: texts are taken as they are",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}"#,
            "the parameter `classification`",
        ),
        (
            "matrix",
            r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}, {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}"#,
            "got input `x` twice",
        ),
        ("matrix", r#"{"inputs": [{"name": "x", "name": "x"}]}"#, "the key `name` of a tensor twice"),
        ("matrix", r#"{"inputs": [{"name": 5}]}"#, "something else than text for `name`"),
        ("matrix", r#"{"outputs": ["y"], "inputs": []}"#, "something else than an object in `outputs`"),
        ("matrix", r#"{"id": "a"}"#, "got unknown input `id`"),
    ];
    for (kind, text, expected) in cases {
        let (kind, features) = if kind == "features" { ("matrix", Some(&names[..])) } else { (kind, None) };
        let shown = &text[..text.len().min(80)];
        let error = body(kind, text.as_bytes(), features).expect_err(shown);
        assert!(error.contains(expected), "{kind} {shown}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    let error = body("text", b"[\"a\xff\"]", None).unwrap_err();
    assert!(error.contains("not valid UTF-8 at byte 3"), "{error}");
    let error = body("text", b"\xef\xbb\xbf[\"a\xff\"]", None).unwrap_err();
    assert!(error.contains("not valid UTF-8 at byte 6"), "{error}");
    assert!(body("text", b"\xff\xfe[\x001\x00]\x00", None).is_err(), "UTF-16");
}

#[test]
fn memory_follows_the_body() {
    let signature = signature("matrix");
    let text = format!("[{}[1,2]]", "[1,2],".repeat(20_000));
    let body = read(text.as_bytes(), &signature, None, usize::MAX).unwrap();
    let Elements::Owned(buffer) = &body.inputs[0].elements else { panic!() };
    assert_eq!((buffer.as_bytes().len(), body.rows), (20_001 * 8, 20_001));
    // A shape alone reserves nothing.
    let text = r#"{"inputs": [{"name": "x", "shape": [1000000000000, 2], "datatype": "FP32", "data": [1]}]}"#;
    assert!(read(text.as_bytes(), &signature, None, usize::MAX).is_err());
}

fn tensor(dtype: DType, shape: &[i64], bytes: &[u8]) -> Value {
    let mut storage = Buffer::default();
    storage.grow(bytes.len()).copy_from_slice(bytes);
    Value::Tensor(EngineTensor { dtype, shape: shape.iter().copied().collect(), storage: Box::new(storage) })
}

fn floats(shape: &[i64], numbers: &[f32]) -> Value {
    tensor(DType::Float32, shape, &numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>())
}

fn texts(shape: &[i64], all: &[&str]) -> Value {
    Value::Strings(shape.iter().copied().collect(), all.iter().copied().collect())
}

#[test]
fn methods_have_names() {
    assert_eq!(Method::named("predict_proba"), Ok(Method::PredictProba));
    let error = Method::named("score").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Option);
}
