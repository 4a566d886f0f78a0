//! Tensors of the Open Inference Protocol that travel as bytes behind the text, in and out.

use super::*;

/// One tensor of `datatype` and `shape` whose elements are `bytes`, as an inference request.
fn with_binary(kind: &str, datatype: &str, shape: &str, size: usize, bytes: &[u8]) -> Result<String, String> {
    let signature = signature(kind);
    let text = format!(
        r#"{{"inputs": [{{"name": "x", "parameters": {{"binary_data_size": {size}}}, "shape": {shape}, "datatype": "{datatype}"}}]}}"#
    );
    let body =
        body::read_with(text.as_bytes(), Some(bytes), &signature, None, 100).map_err(|error| error.to_string())?;
    Ok(shown(&signature, &body.inputs[0]))
}

#[test]
fn binary_tensors_are_read() {
    let floats = [1.0_f32, -0.0].map(f32::to_le_bytes).concat();
    let doubles = [0.1_f64, 2.0].map(f64::to_le_bytes).concat();
    let halves = [0x3c00_u16, 0x2e66].map(u16::to_le_bytes).concat();
    let wide = u64::MAX.to_le_bytes();
    let cases: [(&str, &str, &str, &[u8], &str); 14] = [
        ("matrix", "FP32", "[1, 2]", &floats, "x[1, 2] [1.0, -0.0]"),
        ("matrix", "FP32", "[2]", &floats, "x[1, 2] [1.0, -0.0]"),
        ("matrix", "FP64", "[1, 2]", &doubles, "x[1, 2] [0.1, 2.0]"),
        ("matrix", "FP16", "[1, 2]", &halves, "x[1, 2] [1.0, 0.099975586]"),
        ("matrix", "INT8", "[1, 2]", &[0xff, 1], "x[1, 2] [-1.0, 1.0]"),
        ("matrix", "BOOL", "[1, 2]", &[0, 1], "x[1, 2] [0.0, 1.0]"),
        ("double", "UINT64", "[1]", &wide, "x[1] [1.8446744073709552e19]"),
        ("whole", "UINT16", "[1]", &[0xff, 0xff], "x[1] [65535]"),
        ("byte", "INT32", "[1]", &[7, 0, 0, 0], "x[1] [7]"),
        ("flag", "BOOL", "[3]", &[1, 0, 1], "x[3] [1, 0, 1]"),
        ("text", "BYTES", "[2]", b"\x02\0\0\0\xc3\xa9\0\0\0\0", r#"x[2] ["é", ""]"#),
        ("text", "BYTES", "[0]", b"", "x[0] []"),
        ("matrix", "FP32", "[0, 2]", b"", "x[0, 2] []"),
        ("double", "FP64", "[2]", &[f64::NAN, f64::INFINITY].map(f64::to_le_bytes).concat(), "x[2] [NaN, inf]"),
    ];
    for (kind, datatype, shape, bytes, expected) in cases {
        let got = with_binary(kind, datatype, shape, bytes.len(), bytes);
        assert_eq!(got.as_deref(), Ok(expected), "{kind} {datatype} {shape}");
    }
}

#[test]
fn binary_tensors_that_contradict_themselves_are_refused() {
    let big = 1e300_f64.to_le_bytes();
    let cases: [(&str, &str, &str, usize, &[u8], &str); 16] = [
        ("double", "FP64", "[1]", 8, &[0; 7], "got 7 bytes for a tensor of `binary_data_size` 8"),
        ("double", "FP64", "[1]", 8, &[0; 9], "got 1 bytes behind the JSON text that belong to no tensor"),
        ("double", "FP64", "[2]", 8, &[0; 8], "got 8 bytes of float64, expected 2 elements of 8"),
        ("double", "FP64", "[1]", 1 << 60, &[0; 8], "got 8 bytes for a tensor of `binary_data_size`"),
        ("double", "FP64", "[9223372036854775807]", 8, &[0; 8], "got 8 bytes of float64"),
        ("whole", "FP64", "[1]", 8, &[0; 8], "got datatype FP64, expected INT64"),
        ("text", "UINT8", "[1]", 1, &[0], "got datatype UINT8, expected BYTES"),
        ("flag", "BOOL", "[1]", 1, &[2], "got the byte 2 for a bool"),
        ("byte", "INT64", "[1]", 8, &[0xff; 8], "input `x` of m: got -1, expected 0 to 255"),
        ("matrix", "FP64", "[2]", 16, &[big, big].concat(), "got 1e300, expected a number that fits float32"),
        ("text", "BYTES", "[1]", 5, b"\x02\0\0\0a", "got 1 bytes for a text of 2 at element 0"),
        ("text", "BYTES", "[1]", 4, b"\xff\xff\xff\xff", "got 0 bytes for a text of 4294967295 at element 0"),
        ("text", "BYTES", "[1]", 5, b"\x01\0\0\0\xff", "got bytes at element 0 that are not UTF-8"),
        ("text", "BYTES", "[1]", 6, b"\x01\0\0\0ab", "got 1 bytes behind the last text"),
        ("text", "BYTES", "[3]", 8, &[0; 8], "got 2 texts, expected 3 by the shape"),
        ("double", "FP64", "[101]", 808, &[0; 808], "101 rows"),
    ];
    for (kind, datatype, shape, size, bytes, expected) in cases {
        let error = with_binary(kind, datatype, shape, size, bytes).expect_err(expected);
        assert!(error.contains(expected), "{kind} {datatype} {shape}: {error}");
    }
    let signature = signature("double");
    for (text, expected) in [
        (r#""data": [1], "parameters": {"binary_data_size": 8}"#, "got both `data` and the parameter"),
        (r#""parameters": {"binary_data_size": -8}"#, "got no number of bytes"),
        (r#""parameters": {"binary_data_size": "8"}"#, "got no number of bytes"),
        (r#""parameters": {"binary_data_size": true}"#, "got no number of bytes"),
        (r#""parameters": {"shared_memory_region": "r"}"#, "tensors in shared memory are not taken"),
        (r#""parameters": {"binary_data": 1}"#, "neither true nor false"),
        (r#""parameters": {}"#, "lacks `data`"),
    ] {
        let text = format!(r#"{{"inputs": [{{"name": "x", "shape": [1], "datatype": "FP64", {text}}}]}}"#);
        let error = body::read_with(text.as_bytes(), Some(&[0; 8]), &signature, None, 100).expect_err(&text);
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}

#[test]
fn outputs_are_written_as_bytes_where_they_are_wanted() {
    let signature = Signature::new("m", vec![], vec![port("y", DType::Float32, &[N]), port("z", DType::String, &[N])]);
    let wanted = |name: &str, place| Wanted { name: name.into(), place };
    let form = |outputs, place| Form::Protocol { id: None, outputs, place };
    let (text, binary) = (Some(Place::Text), Some(Place::Binary));
    for (form, expected, behind) in [
        (
            form(None, Place::Binary),
            r#"{"model_name":"n","model_version":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},{"name":"z","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":11}}]}"#,
            &b"\0\0\x80\x3f\x02\0\0\0\xc3\xa9\x01\0\0\0a"[..],
        ),
        (
            form(Some(vec![wanted("y", text), wanted("z", None)]), Place::Binary),
            r#"{"model_name":"n","model_version":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.0]},{"name":"z","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":11}}]}"#,
            b"\x02\0\0\0\xc3\xa9\x01\0\0\0a",
        ),
        (
            form(Some(vec![wanted("y", binary), wanted("z", None)]), Place::Text),
            r#"{"model_name":"n","model_version":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},{"name":"z","datatype":"BYTES","shape":[2],"data":["é","a"]}]}"#,
            b"\0\0\x80\x3f",
        ),
    ] {
        let outputs = vec![(0, floats(&[1], &[1.0])), (1, texts(&[2], &["é", "a"]))];
        let answer = Answer { outputs, rows: 1, is_named: true, signature: &signature, name: Some(("n", Some("2"))) };
        let (bytes, length) = answer.write(&form).unwrap();
        let (text, tail) = bytes.split_at(length.unwrap());
        assert_eq!(std::str::from_utf8(text), Ok(expected));
        assert_eq!(tail, behind);
    }
}
