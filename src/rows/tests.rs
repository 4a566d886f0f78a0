//! Rows told as nested values, for all kinds of signatures.

use super::*;
use crate::signature::{Dim, Port, PortType};
use crate::tensor::{DType, Elements};

/// A row, or a part of one.
enum Value {
    One(Scalar<'static>),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}

use Value::{List, Object};

fn int(value: i64) -> Value {
    Value::One(Scalar::Int(value))
}

fn text(value: &'static str) -> Value {
    Value::One(Scalar::Text(value))
}

fn ints(values: &[i64]) -> Value {
    List(values.iter().copied().map(int).collect())
}

fn tell(rows: &mut RowsBuilder<'_>, value: &Value) -> Result<()> {
    match value {
        Value::One(scalar) => rows.scalar(*scalar),
        List(values) => {
            rows.begin_list()?;
            values.iter().try_for_each(|value| tell(rows, value))?;
            rows.end_list()
        }
        Object(values) => {
            rows.begin_object()?;
            for (name, value) in values {
                rows.key(name)?;
                tell(rows, value)?;
            }
            rows.end_object()
        }
    }
}

const N: i64 = -1;
const FREE: i64 = -2;

fn port(name: &str, dtype: DType, dims: &[i64]) -> Port {
    let dim = |size: &i64| match *size {
        N => Dim::Symbol("N".into()),
        FREE => Dim::Unknown,
        size => Dim::Fixed(size),
    };
    let port_type = PortType::Tensor(dtype, dims.iter().map(dim).collect());
    Port { name: name.into(), port_type, required: true }
}

fn optional(mut port: Port) -> Port {
    port.required = false;
    port
}

fn any_rank(name: &str) -> Port {
    Port { name: name.into(), port_type: PortType::AnyRank(DType::Float32), required: true }
}

/// Inputs as `index shape elements`.
fn built(ports: Vec<Port>, features: &[&str], rows: &[Value]) -> Result<Vec<String>, String> {
    let signature = Signature::new("m", ports, vec![]);
    let features: Vec<String> = features.iter().map(|name| (*name).to_owned()).collect();
    let build = || {
        let mut builder = RowsBuilder::new(&signature, (!features.is_empty()).then_some(&features))?;
        rows.iter().try_for_each(|row| tell(&mut builder, row))?;
        assert_eq!(builder.rows(), rows.len());
        builder.finish()
    };
    let built = build();
    let taken = recorded(&signature, rows).filter(|_| features.is_empty() && !rows.is_empty());
    assert!(taken.is_none() || built.is_ok(), "the short way takes what is wrong: {built:?}");
    let tensors = built.map_err(|error| error.to_string())?;
    let shown = |tensor: &InputTensor| {
        let elements = match &tensor.elements {
            Elements::Owned(buffer) => match signature.inputs()[tensor.index].dtype() {
                Some(DType::Int64) => format!("{:?}", numbers(buffer.as_bytes(), i64::from_ne_bytes)),
                Some(DType::Float64) => format!("{:?}", numbers(buffer.as_bytes(), f64::from_ne_bytes)),
                Some(DType::Bool) => format!("{:?}", buffer.as_bytes()),
                _ => format!("{:?}", numbers(buffer.as_bytes(), f32::from_ne_bytes)),
            },
            Elements::Strings(strings) => format!("{:?}", strings.iter().collect::<Vec<_>>()),
            Elements::Raw(_) => "raw".to_owned(),
        };
        format!("{} {:?} {elements}", tensor.index, &tensor.shape[..])
    };
    let shown = |tensors: &[InputTensor]| tensors.iter().map(shown).collect::<Vec<_>>();
    let all = shown(&tensors);
    assert!(taken.is_none_or(|taken| shown(&taken) == all), "the short way makes something else");
    Ok(all)
}

/// The same, if these are rows of the plainest kind.
fn recorded(signature: &Signature, rows: &[Value]) -> Option<Vec<InputTensor>> {
    let mut records = Records::new(signature)?;
    for row in rows {
        let Object(values) = row else { return None };
        for (name, value) in values {
            let Value::One(scalar) = value else { return None };
            (records.key(name) && records.scalar(*scalar)).then_some(())?;
        }
        records.end_row().then_some(())?;
    }
    assert_eq!(records.rows(), rows.len());
    Some(records.finish())
}

#[test]
fn records_are_rows_with_one_value_for_each_input() {
    use DType::{Float32, Int64, String};
    let columns = || vec![port("a", Float32, &[N, 1]), port("b", Int64, &[FREE]), port("c", String, &[N, 1])];
    let row =
        |a: Scalar<'static>, b: i64, c: &'static str| Object(vec![("a", Value::One(a)), ("b", int(b)), ("c", text(c))]);
    let (good, null) = (row(Scalar::Float(0.5), 1, "x"), row(Scalar::Null, 2, ""));
    let turned = Object(vec![("c", text("y")), ("a", int(3)), ("b", int(4))]);
    let signature = Signature::new("m", columns(), vec![]);
    for rows in [&[good, null, turned][..], &[row(Scalar::Bool(true), -1, "ä")]] {
        assert!(recorded(&signature, rows).is_some());
    }
    let object = |values: Vec<(&'static str, Value)>| vec![Object(values)];
    let others: [Vec<Value>; 7] = [
        object(vec![]),
        object(vec![("a", int(1)), ("b", int(1))]),
        object(vec![("a", int(1)), ("b", int(1)), ("a", int(1))]),
        object(vec![("a", int(1)), ("b", int(1)), ("d", text("x"))]),
        object(vec![("a", ints(&[1])), ("b", int(1)), ("c", text("x"))]),
        object(vec![("a", int(1)), ("b", Value::One(Scalar::Float(0.5))), ("c", text("x"))]),
        object(vec![("a", int(1)), ("b", int(1)), ("c", int(1))]),
    ];
    for rows in &others {
        assert!(recorded(&signature, rows).is_none());
        let _ = built(columns(), &[], rows);
    }
    let with = |ports: Vec<Port>| Records::new(&Signature::new("m", ports, vec![])).is_some();
    assert!(with(columns()));
    let first = || port("a", Float32, &[N, 1]);
    let unfit = [
        vec![first()],
        vec![first(), optional(port("b", Float32, &[N]))],
        vec![first(), port("b", Float32, &[1])],
        vec![first(), port("b", Float32, &[N, 2])],
        vec![first(), any_rank("b")],
    ];
    for ports in unfit {
        assert!(!with(ports));
    }
}

fn numbers<T, const SIZE: usize>(bytes: &[u8], make: fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.chunks_exact(SIZE).map(|bytes| make(bytes.try_into().unwrap())).collect()
}

#[test]
#[allow(clippy::too_many_lines)]
fn rows_become_inputs() {
    use DType::{Bool, Float32, Float64, Int64, String};
    let matrix = || vec![port("x", Float32, &[N, 2])];
    let free = || vec![port("x", Float32, &[N, FREE])];
    let columns = || vec![port("a", Float64, &[N, 1]), port("b", Int64, &[N]), port("c", String, &[N, 1])];
    let mixed = || vec![port("a", Float32, &[N, 2]), port("b", Int64, &[N, 1])];
    let extra = || vec![port("x", Float32, &[N, 2]), optional(port("scale", Float32, &[1]))];
    let cases: Vec<(&str, Vec<Port>, &[&str], Vec<Value>, &[&str])> = vec![
        ("lists", matrix(), &[], vec![ints(&[1, 2]), ints(&[3, 4])], &["0 [2, 2] [1.0, 2.0, 3.0, 4.0]"]),
        ("no rows", matrix(), &[], vec![], &["0 [0, 2] []"]),
        ("no rows of any size", free(), &[], vec![], &["0 [0, 0] []"]),
        (
            "the first row decides",
            free(),
            &[],
            vec![ints(&[1, 2, 3]), ints(&[4, 5, 6])],
            &["0 [2, 3] [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]"],
        ),
        ("rows without values", free(), &[], vec![ints(&[]), ints(&[])], &["0 [2, 0] []"]),
        ("scalars", vec![port("x", Int64, &[N])], &[], vec![int(1), int(2)], &["0 [2] [1, 2]"]),
        ("a column, either way", vec![port("x", Int64, &[N, 1])], &[], vec![int(1), ints(&[2])], &["0 [2, 1] [1, 2]"]),
        (
            "rank 3",
            vec![port("x", Int64, &[N, 2, FREE])],
            &[],
            vec![List(vec![ints(&[1]), ints(&[2])]), List(vec![ints(&[3]), ints(&[4])])],
            &["0 [2, 2, 1] [1, 2, 3, 4]"],
        ),
        ("an open rank", vec![any_rank("x")], &[], vec![ints(&[1]), ints(&[2])], &["0 [2, 1] [1.0, 2.0]"]),
        ("an open rank, scalars", vec![any_rank("x")], &[], vec![int(1), int(2)], &["0 [2] [1.0, 2.0]"]),
        (
            "an open rank, rows without values",
            vec![any_rank("x")],
            &[],
            vec![List(vec![ints(&[])]), List(vec![ints(&[])])],
            &["0 [2, 1, 0] []"],
        ),
        ("rank 0", vec![port("x", Int64, &[])], &[], vec![int(7)], &["0 [] [7]"]),
        (
            "features in any order",
            matrix(),
            &["p", "q"],
            vec![Object(vec![("p", int(1)), ("q", int(2))]), Object(vec![("q", int(4)), ("p", int(3))]), ints(&[5, 6])],
            &["0 [3, 2] [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]"],
        ),
        ("features decide", free(), &["p", "q"], vec![], &["0 [0, 2] []"]),
        (
            "features of text",
            vec![port("x", String, &[N, 2])],
            &["p", "q"],
            vec![Object(vec![("q", text("b")), ("p", text("a"))]), List(vec![text("c"), text("d")])],
            &[r#"0 [2, 2] ["a", "b", "c", "d"]"#],
        ),
        ("the input by name", matrix(), &[], vec![Object(vec![("x", ints(&[1, 2]))])], &["0 [1, 2] [1.0, 2.0]"]),
        (
            "the input by name, beside features",
            matrix(),
            &["p", "q"],
            vec![Object(vec![("x", ints(&[1, 2]))])],
            &["0 [1, 2] [1.0, 2.0]"],
        ),
        (
            "a feature called as the input",
            matrix(),
            &["x", "q"],
            vec![Object(vec![("x", int(1)), ("q", int(2))])],
            &["0 [1, 2] [1.0, 2.0]"],
        ),
        (
            "columns by name",
            columns(),
            &[],
            vec![
                Object(vec![("b", int(1)), ("a", int(2)), ("c", text("x"))]),
                Object(vec![("a", ints(&[4])), ("b", int(3)), ("c", List(vec![text("y")]))]),
            ],
            &["0 [2, 1] [2.0, 4.0]", "1 [2] [1, 3]", r#"2 [2, 1] ["x", "y"]"#],
        ),
        (
            "columns by position",
            columns(),
            &[],
            vec![List(vec![int(1), int(2), text("z")])],
            &["0 [1, 1] [1.0]", "1 [1] [2]", r#"2 [1, 1] ["z"]"#],
        ),
        ("no rows of columns", columns(), &[], vec![], &["0 [0, 1] []", "1 [0] []", "2 [0, 1] []"]),
        (
            "inputs of several shapes",
            mixed(),
            &[],
            vec![Object(vec![("a", ints(&[1, 2])), ("b", int(3))]), Object(vec![("b", int(6)), ("a", ints(&[4, 5]))])],
            &["0 [2, 2] [1.0, 2.0, 4.0, 5.0]", "1 [2, 1] [3, 6]"],
        ),
        ("without the optional", extra(), &[], vec![ints(&[1, 2])], &["0 [1, 2] [1.0, 2.0]"]),
        (
            "with the optional",
            extra(),
            &[],
            vec![Object(vec![("scale", int(5)), ("x", ints(&[1, 2]))])],
            &["0 [1, 2] [1.0, 2.0]", "1 [1] [5.0]"],
        ),
        (
            "bools",
            vec![port("x", Bool, &[N])],
            &[],
            vec![Value::One(Scalar::Bool(true)), Value::One(Scalar::Bool(false))],
            &["0 [2] [1, 0]"],
        ),
        ("null", vec![port("x", Float64, &[N])], &[], vec![Value::One(Scalar::Null)], &["0 [1] [NaN]"]),
    ];
    for (name, ports, features, rows, expected) in cases {
        let expected: Vec<std::string::String> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(built(ports, features, &rows), Ok(expected), "{name}");
    }
}

#[test]
#[allow(clippy::too_many_lines)]
fn bad_rows_are_reported_by_index_and_field() {
    use DType::{Float32, Int64, String};
    let matrix = || vec![port("x", Float32, &[N, 2])];
    let columns = || vec![port("a", Float32, &[N, 1]), port("b", Int64, &[N])];
    let mixed = || vec![port("a", Float32, &[N, 2]), port("b", Int64, &[N, 1])];
    let extra = || vec![port("x", Float32, &[N, 2]), optional(port("scale", Float32, &[N]))];
    let good = || ints(&[1, 2]);
    let pq = |p, q| Object(vec![("p", int(p)), ("q", int(q))]);
    let ab = || Object(vec![("a", int(1)), ("b", int(2))]);
    let cases: Vec<(&str, Vec<Port>, &[&str], Vec<Value>, &[&str])> = vec![
        ("too few", matrix(), &[], vec![good(), ints(&[1])], &["row 1, input `x` of m: got 1 values, expected 2"]),
        ("too many", matrix(), &[], vec![good(), ints(&[1, 2, 3])], &["row 1, input `x`", "got 3 values, expected 2"]),
        ("too few, named", matrix(), &["p", "q"], vec![ints(&[1])], &["the first that is missing is `q`"]),
        (
            "another size",
            vec![port("x", Float32, &[N, FREE])],
            &[],
            vec![good(), ints(&[1])],
            &["row 1", "expected 2 as in the first row"],
        ),
        (
            "a scalar",
            matrix(),
            &[],
            vec![good(), int(5)],
            &["row 1, input `x` of m: got 5, expected a list of 2 values"],
        ),
        (
            "too deep",
            matrix(),
            &[],
            vec![List(vec![int(1), good()])],
            &["row 0, position 1 of input `x`", "got a list, expected one value (float32)"],
        ),
        (
            "text",
            matrix(),
            &[],
            vec![good(), List(vec![int(1), text("abc")])],
            &["row 1, position 1 of input `x` of m: got the text \"abc\", expected a number (float32)"],
        ),
        ("text, named", matrix(), &["p", "q"], vec![List(vec![int(1), text("abc")])], &["row 0, position 1 (`q`)"]),
        (
            "text in a feature",
            matrix(),
            &["p", "q"],
            vec![pq(1, 2), Object(vec![("q", text("abc"))])],
            &["row 1, feature `q` of m: got the text"],
        ),
        (
            "ragged inside",
            vec![port("x", Int64, &[N, 2, FREE])],
            &[],
            vec![List(vec![good(), ints(&[1])])],
            &["row 0, position 1 of input `x` of m: got 1 values, expected 2"],
        ),
        (
            "an unknown feature",
            matrix(),
            &["amount", "hour"],
            vec![Object(vec![("amount", int(1)), ("houre", int(2))])],
            &["row 0 for m: got unknown feature `houre`", "did you mean `hour`?"],
        ),
        (
            "a missing feature",
            matrix(),
            &["p", "q"],
            vec![pq(1, 2), Object(vec![("p", int(1))])],
            &["row 1 for m: missing feature `q`"],
        ),
        (
            "a feature twice",
            matrix(),
            &["p", "q"],
            vec![Object(vec![("p", int(1)), ("p", int(1))])],
            &["row 0 for m: got feature `p` twice"],
        ),
        (
            "a list for a feature",
            matrix(),
            &["p", "q"],
            vec![Object(vec![("p", good())])],
            &["row 0, feature `p` of m: got a list"],
        ),
        ("nothing named", matrix(), &["p", "q"], vec![Object(vec![])], &["missing features `p`, `q`"]),
        (
            "no features are known",
            matrix(),
            &[],
            vec![Object(vec![("amount", int(1))])],
            &["got unknown input `amount`, expected inputs: `x`", "`features=`"],
        ),
        ("an object in a row", matrix(), &[], vec![List(vec![pq(1, 2)])], &["row 0 for m: got an object inside a row"]),
        ("an input twice", columns(), &[], vec![Object(vec![("a", int(1)), ("a", int(1))])], &["got input `a` twice"]),
        (
            "an input missing",
            columns(),
            &[],
            vec![ab(), Object(vec![("a", int(1))])],
            &["row 1 for m: missing input `b`"],
        ),
        (
            "an input missing at first",
            columns(),
            &[],
            vec![Object(vec![("a", int(1))])],
            &["row 0 for m: missing input `b`"],
        ),
        (
            "a position missing",
            columns(),
            &[],
            vec![ints(&[1])],
            &["row 0 for m: got 1 values, expected 2", "`a`, `b`"],
        ),
        ("a position too many", columns(), &[], vec![ints(&[1, 2, 3])], &["got 3 values, expected 2"]),
        ("a list at a position", columns(), &[], vec![List(vec![good()])], &["row 0, position 0 (`a`)"]),
        ("a number for columns", columns(), &[], vec![int(1)], &["got 1, expected an object with the inputs `a`, `b`"]),
        ("a list for inputs of several shapes", mixed(), &[], vec![good()], &["got a list, expected an object"]),
        (
            "an optional input too late",
            extra(),
            &[],
            vec![good(), Object(vec![("x", good()), ("scale", int(1))])],
            &["row 1 for m: got input `scale`, which the rows before do not have"],
        ),
        (
            "an optional input not again",
            extra(),
            &[],
            vec![Object(vec![("x", good()), ("scale", int(1))]), good()],
            &["row 1 for m: missing input `scale`", "in all rows or in none"],
        ),
        (
            "more rows than the model takes",
            vec![port("x", Float32, &[1, 2])],
            &[],
            vec![good(), good()],
            &["got 2 rows, expected 1"],
        ),
        ("two rows of rank 0", vec![port("x", Float32, &[])], &[], vec![int(1), int(2)], &["got 2 rows, expected one"]),
        ("rows without inputs", vec![], &[], vec![int(1)], &["the model has no inputs"]),
        ("features of another number", matrix(), &["p"], vec![], &["m: got 1 feature names", "`x` [N, 2]"]),
        ("features of several inputs", columns(), &["a", "b"], vec![], &["got 2 feature names"]),
        (
            "numbers for text",
            vec![port("x", String, &[N])],
            &[],
            vec![int(1)],
            &["row 0, input `x` of m: got 1, expected text"],
        ),
        (
            "endless lists",
            vec![any_rank("x")],
            &[],
            vec![(0..40).fold(int(1), |value, _| List(vec![value]))],
            &["nested 32 deep"],
        ),
    ];
    for (name, ports, features, rows, expected) in cases {
        let error = built(ports, features, &rows).expect_err(name);
        for part in expected {
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}

#[test]
fn rows_of_floats_are_taken_at_once_or_left() {
    let values = [Some(1.0), Some(2.5)];
    let cases: [(&str, Port, usize, [Option<f64>; 2], bool); 9] = [
        ("float32", port("x", DType::Float32, &[N, 2]), 2, values, true),
        ("float64", port("x", DType::Float64, &[N, 2]), 2, values, true),
        ("infinity", port("x", DType::Float32, &[N, 2]), 2, [Some(f64::INFINITY), Some(f64::NAN)], true),
        ("overflow", port("x", DType::Float32, &[N, 2]), 2, [Some(0.0), Some(1e39)], false),
        ("no float", port("x", DType::Float32, &[N, 2]), 2, [Some(0.0), None], false),
        ("too few", port("x", DType::Float32, &[N, 2]), 1, values, false),
        ("too many", port("x", DType::Float32, &[N, 2]), 3, values, false),
        ("int64", port("x", DType::Int64, &[N, 2]), 2, values, false),
        ("not known yet", port("x", DType::Float32, &[N, FREE]), 2, values, false),
    ];
    for (name, port, count, values, taken) in cases {
        let signature = Signature::new("m", vec![port], vec![]);
        let mut rows = RowsBuilder::new(&signature, None).unwrap();
        assert_eq!(rows.float_row(count, values.into_iter()), Ok(taken), "{name}");
        assert_eq!(rows.rows(), usize::from(taken), "{name}");
        // Whatever became of it, the next row is told as if nothing had been.
        tell(&mut rows, &ints(&[3, 4])).unwrap();
        assert_eq!(rows.float_row(2, [Some(5.0), Some(6.0)].into_iter()), Ok(name != "int64"), "{name}");
        let tensors = rows.finish().unwrap();
        let Elements::Owned(buffer) = &tensors[0].elements else { panic!("{name}") };
        let got = match signature.inputs()[0].dtype() {
            Some(DType::Float64) => numbers(buffer.as_bytes(), f64::from_ne_bytes),
            Some(DType::Int64) => vec![3.0, 4.0, 5.0, 6.0],
            _ => numbers(buffer.as_bytes(), f32::from_ne_bytes).into_iter().map(f64::from).collect(),
        };
        assert!(got.ends_with(&[3.0, 4.0, 5.0, 6.0]), "{name}: {got:?}");
        assert_eq!(got.len(), if taken { 6 } else { 4 }, "{name}");
    }
    let optional = vec![port("x", DType::Float32, &[N, 2]), optional(port("s", DType::Float32, &[N]))];
    let signature = Signature::new("m", optional, vec![]);
    let mut rows = RowsBuilder::new(&signature, None).unwrap();
    tell(&mut rows, &Object(vec![("s", int(1)), ("x", ints(&[1, 2]))])).unwrap();
    let error = rows.float_row(2, values.into_iter()).unwrap_err().to_string();
    assert!(error.contains("row 1 for m: missing input `s`"), "{error}");
}

#[test]
fn refusals_name_the_place() {
    let ports = || vec![port("a", DType::Float32, &[N, 1]), port("b", DType::Int64, &[N])];
    let matrix = Signature::new("m", vec![port("x", DType::Float32, &[N, 2])], vec![]);
    let columns = Signature::new("m", ports(), vec![]);
    let names = ["p".to_owned(), "q".to_owned()];
    let cases: [(&Signature, Option<&[String]>, fn(&mut RowsBuilder<'_>) -> Result<()>, &str); 6] = [
        (&matrix, None, |_| Ok(()), "row 0 for m: no"),
        (&matrix, None, |rows| rows.begin_list(), "row 0, position 0 of input `x` of m: no"),
        (&matrix, Some(&names), |rows| rows.begin_list(), "row 0, position 0 (`p`) of input `x` of m: no"),
        (&matrix, Some(&names), |rows| rows.begin_object().and_then(|()| rows.key("q")), "row 0, feature `q` of m: no"),
        (
            &columns,
            None,
            |rows| rows.begin_list().and_then(|()| rows.scalar(Scalar::Null)),
            "row 0, position 1 (`b`) of m: no",
        ),
        (&columns, None, |rows| rows.begin_object().and_then(|()| rows.key("b")), "row 0, input `b` of m: no"),
    ];
    for (signature, features, tell, expected) in cases {
        let mut rows = RowsBuilder::new(signature, features).unwrap();
        tell(&mut rows).unwrap();
        assert_eq!(rows.refusal(ErrorKind::Input, "no", "fix").to_string(), format!("{expected}\n  fix: fix"));
    }
}

#[test]
fn events_out_of_order_are_refused() {
    let signature = Signature::new("m", vec![port("x", DType::Float32, &[N, 2])], vec![]);
    let events: [fn(&mut RowsBuilder<'_>) -> Result<()>; 5] = [
        |rows| rows.end_list(),
        |rows| rows.end_object(),
        |rows| rows.key("x"),
        |rows| rows.begin_object().and_then(|()| rows.scalar(Scalar::Null)),
        |rows| rows.begin_object().and_then(|()| rows.key("x")).and_then(|()| rows.key("x")),
    ];
    for event in events {
        let mut rows = RowsBuilder::new(&signature, None).unwrap();
        assert!(event(&mut rows).is_err());
    }
    let mut rows = RowsBuilder::new(&signature, None).unwrap();
    rows.begin_list().unwrap();
    assert!(rows.finish().is_err(), "a row is not complete");
}
