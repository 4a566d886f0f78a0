//! Values as JSON.

use super::*;

fn written(value: &Value) -> String {
    let mut out = Vec::new();
    write::value(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn ints(numbers: &[i64]) -> Value {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    tensor(DType::Int64, &[i64::try_from(numbers.len()).unwrap()], &bytes)
}

#[test]
fn values_are_written() {
    let map = |keys, values| Value::Map(Box::new((keys, values)));
    let half = [0x3c00_u16, 0x2e66, 0x7c00].iter().flat_map(|bits| bits.to_ne_bytes()).collect::<Vec<u8>>();
    let cases = [
        (floats(&[2, 2], &[0.1, -0.0, f32::NAN, 1e20]), "[[0.1,-0.0],[null,1e+20]]"),
        (floats(&[], &[16_777_216.0]), "16777216.0"),
        (floats(&[2], &[f32::INFINITY, f32::MIN_POSITIVE]), "[null,1.1754944e-38]"),
        (floats(&[0, 3], &[]), "[]"),
        (floats(&[2, 0], &[]), "[[],[]]"),
        (floats(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), "[[[1.0,2.0],[3.0,4.0]]]"),
        (tensor(DType::Float64, &[1], &0.1_f64.to_ne_bytes()), "[0.1]"),
        (tensor(DType::Float16, &[3], &half), "[1.0,0.099975586,null]"),
        (tensor(DType::Bool, &[2], &[1, 0]), "[true,false]"),
        (tensor(DType::Int8, &[2], &[0x80, 1]), "[-128,1]"),
        (tensor(DType::Uint64, &[1], &[0xff; 8]), "[18446744073709551615]"),
        (ints(&[i64::MIN, 0]), "[-9223372036854775808,0]"),
        (texts(&[2, 1], &["a\"\\\n\t\r\u{1}/", "é🙂"]), r#"[["a\"\\\n\t\r\u0001/"],["é🙂"]]"#),
        (texts(&[], &["x"]), "\"x\""),
        (Value::Absent, "null"),
        (Value::Sequence(vec![floats(&[1], &[1.0]), Value::Absent]), "[[1.0],null]"),
        (Value::Sequence(vec![map(ints(&[3, 5]), floats(&[2], &[0.25, 0.75]))]), r#"[{"3":0.25,"5":0.75}]"#),
        (map(texts(&[2], &["a,b", "\""]), ints(&[1, 2])), r#"{"a,b":1,"\"":2}"#),
        (map(ints(&[]), ints(&[])), "{}"),
    ];
    for (value, expected) in cases {
        assert_eq!(written(&value), expected);
    }
}

#[test]
fn single_rows_are_written() {
    let row = |value: &Value, at, rows| {
        let mut out = Vec::new();
        write::row(value, at, rows, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let (matrix, labels) = (floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), texts(&[2], &["a", "b"]));
    assert_eq!(row(&matrix, 1, 2).as_deref(), Some("[3.0,4.0]"));
    assert_eq!(row(&labels, 1, 2).as_deref(), Some("\"b\""));
    assert_eq!(row(&Value::Sequence(vec![ints(&[1]), ints(&[2])]), 1, 2).as_deref(), Some("[2]"));
    for (value, rows) in [(&matrix, 1), (&labels, 3), (&floats(&[], &[1.0]), 1), (&Value::Absent, 1)] {
        assert_eq!(row(value, 0, rows), None);
    }
}

#[test]
fn probabilities_become_columns() {
    let columns = |value, source, classes: Option<&Classes>| {
        probabilities::in_columns(value, source, classes).map(|made| written(&made))
    };
    let both = |value| columns(value, Probabilities::Positive(0), None);
    assert_eq!(both(floats(&[2, 1], &[0.25, 1.0])).as_deref(), Some("[[0.75,0.25],[0.0,1.0]]"));
    assert_eq!(both(tensor(DType::Float16, &[1], &0x3400_u16.to_ne_bytes())).as_deref(), Some("[[0.75,0.25]]"));
    assert_eq!(both(ints(&[1])), None);
    let map = |keys: &[i64], values: &[f32]| Value::Map(Box::new((ints(keys), floats(&[2], values))));
    let maps = || Value::Sequence(vec![map(&[3, 5], &[0.25, 0.75]), map(&[3, 5], &[1.0, 0.0])]);
    for (classes, expected) in [
        (None, Some("[[0.25,0.75],[1.0,0.0]]")),
        (Some(Classes::Ints(vec![5, 3])), Some("[[0.75,0.25],[0.0,1.0]]")),
        (Some(Classes::Ints(vec![5, 4])), None),
    ] {
        let made = columns(maps(), Probabilities::Maps(0), classes.as_ref());
        assert_eq!(made.as_deref(), expected, "{classes:?}");
    }
    let none = columns(Value::Sequence(vec![]), Probabilities::Maps(0), Some(&Classes::Ints(vec![1])));
    assert_eq!(none.as_deref(), Some("[]"));
}
