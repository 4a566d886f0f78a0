//! Many bodies in one run, as queues hand them over: each gets its own answer, or its own error.
//!
//! A body that cannot be read costs the others nothing. Bodies whose rows may share a run do so. What the engine refuses is
//! found by halves: a bad row in a thousand bodies takes some twenty runs more. So is what takes too long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::body::{Body, Form, read};
use super::{Answer, Cost, Method, Terms, outputs, run};
use crate::batch::Watch;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Batch;
use crate::session::{Agreement, Session};
use crate::tensor::{Buffer, Elements, EngineTensor, InputTensor, Shape, Strings, Value};

/// One body on its way: its place among all, and what is in it.
type Read = (usize, Body);
/// Bodies that share a run.
struct Group {
    rows: usize,
    bodies: Vec<Read>,
}

/// Answers by place.
type Answers = Vec<Option<Result<Vec<u8>>>>;

/// A body is put to one of so many groups; senders of one queue do not have more kinds of rows.
const OPEN_GROUPS: usize = 8;

/// Scores bodies; the answers are in their order. `most_rows` of the terms holds for each body, and for a run of several.
pub fn predict_each<B: AsRef<[u8]>>(
    session: &Session,
    bodies: &[B],
    terms: &Terms<'_>,
    watch: &mut Watch<'_>,
) -> (Vec<Result<Vec<u8>>>, Cost) {
    let (signature, started) = (session.signature(), Instant::now());
    let mut answers: Answers = bodies.iter().map(|_| None).collect();
    let may_join = rows_are_independent(session, terms.method);
    let (mut alone, mut groups): (Vec<Read>, Vec<Group>) = Default::default();
    for (place, text) in bodies.iter().enumerate() {
        match read(text.as_ref(), signature, terms.features, terms.most_rows) {
            Err(error) => answers[place] = Some(Err(error)),
            Ok(body) if may_join && is_joinable(session, &body) => {
                let fits =
                    |group: &&mut Group| group.rows + body.rows <= terms.most_rows && fit(&group.bodies[0].1, &body);
                if let Some(group) = groups.iter_mut().rev().take(OPEN_GROUPS).find(fits) {
                    group.rows += body.rows;
                    group.bodies.push((place, body));
                } else {
                    groups.push(Group { rows: body.rows, bodies: vec![(place, body)] });
                }
            }
            Ok(body) => alone.push((place, body)),
        }
    }
    let cost = Cost { read: started.elapsed(), ..Cost::default() };
    let mut call = Call { session, terms, deadline: terms.deadline, watch, cost };
    let alone = alone.iter().map(std::slice::from_ref);
    call.answer_all(groups.iter().map(|group| &group.bodies[..]).chain(alone), &mut answers);
    let missing = || Error::new(ErrorKind::Engine, signature.model(), "gave no answer", "report this as a bug");
    let cost = call.cost;
    (answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(missing()))).collect(), cost)
}

/// Whether no row of what the method answers depends on the rows beside it: the graph proves it, or who loaded the model
/// vouches for it, and no rows have been seen that did.
fn rows_are_independent(session: &Session, method: Method) -> bool {
    let outputs = session.signature().outputs().len();
    let is_independent = |output: usize| {
        let is_said = session.options().batch == Batch::Rows || session.is_proven(output);
        is_said && session.agreement(output) != Agreement::Differs
    };
    match method {
        Method::Predict | Method::View(_) => outputs > 0 && is_independent(0),
        Method::Run => outputs > 0 && (0..outputs).all(is_independent),
        Method::PredictProba => session.probabilities().is_some_and(|source| is_independent(source.output())),
    }
}

/// Whether a body is nothing but rows, of which its answer has one part each.
fn is_joinable(session: &Session, body: &Body) -> bool {
    let rows = i64::try_from(body.rows).ok();
    let has_rows =
        |tensor: &InputTensor| session.signature().is_row_input(tensor.index) && tensor.shape.first().copied() == rows;
    let is_table = !body.inputs.is_empty() && body.inputs.iter().all(has_rows);
    is_table && body.rows > 0 && !matches!(body.form, Form::Protocol { .. })
}

/// Whether the rows of one body can stand below those of another.
fn fit(first: &Body, second: &Body) -> bool {
    let is_like =
        |one: &InputTensor, other: &InputTensor| one.index == other.index && one.shape.get(1..) == other.shape.get(1..);
    first.inputs.len() == second.inputs.len()
        && first.inputs.iter().zip(&second.inputs).all(|(one, other)| is_like(one, other))
}

/// All bodies of one call, with what they have taken so far.
struct Call<'a, 'w> {
    session: &'a Session,
    terms: &'a Terms<'a>,
    /// Of the run that is next.
    deadline: Option<Deadline>,
    watch: &'a mut Watch<'w>,
    cost: Cost,
}

impl Call<'_, '_> {
    /// Answers all groups of bodies that fit each other.
    ///
    /// None of them may use up the time of the others: each has its share of what is left, and a group that may be cut as much
    /// again. What is not done in it comes once more, behind the others, a group as its halves.
    fn answer_all<'b>(&mut self, groups: impl Iterator<Item = &'b [Read]>, answers: &mut Answers) {
        let mut tasks: VecDeque<(&[Read], bool)> = groups.map(|group| (group, false)).collect();
        while let Some((group, is_again)) = tasks.pop_front() {
            let parts = tasks.len() + 1 + usize::from(group.len() > 1);
            let whole = self.terms.deadline;
            self.deadline = whole.map(|deadline| deadline.share(u32::try_from(parts).unwrap_or(u32::MAX)));
            let Err(error) = self.answer(group, answers) else { continue };
            let is_late = error.kind() == ErrorKind::Deadline && whole.is_some_and(|deadline| !deadline.is_over());
            let is_over = matches!(error.kind(), ErrorKind::Deadline | ErrorKind::Stopped | ErrorKind::Closed);
            let (first, second) = group.split_at(group.len() / 2);
            match group {
                [_] if is_late && !is_again => tasks.push_back((group, true)),
                [_, _, ..] if is_late => tasks.extend([(first, false), (second, false)]),
                [_, _, ..] if !is_over => {
                    tasks.push_front((second, false));
                    tasks.push_front((first, false));
                }
                _ => {
                    for (place, _) in group {
                        answers[*place] = Some(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Answers bodies that fit each other in one run.
    fn answer(&mut self, group: &[Read], answers: &mut Answers) -> Result<()> {
        if let [(place, body)] = group {
            answers[*place] = Some(Ok(self.alone(body)?));
            return Ok(());
        }
        for ((place, _), text) in group.iter().zip(self.together(group)?) {
            answers[*place] = Some(text);
        }
        Ok(())
    }

    fn alone(&mut self, body: &Body) -> Result<Vec<u8>> {
        let (outputs, is_named) = self.run(&body.inputs, &body.form, body.rows)?;
        let signature = self.session.signature();
        text(&Answer { outputs, rows: body.rows, is_named, signature, name: None }, &body.form)
    }

    fn together(&mut self, group: &[Read]) -> Result<Vec<Result<Vec<u8>>>> {
        let signature = self.session.signature();
        let unlike = || Error::new(ErrorKind::Engine, signature.model(), "rows cannot be joined", "send them apart");
        let joined: Option<Vec<InputTensor>> = (0..group[0].1.inputs.len())
            .map(|position| join(group.iter().map(|(_, body)| &body.inputs[position])))
            .collect();
        // They stay until the answers are written: an output that is an input as well lies in the input's memory.
        let joined = joined.ok_or_else(unlike)?;
        let sizes: Vec<usize> = group.iter().map(|(_, body)| body.rows).collect();
        let (outputs, is_named) = self.run(&joined, &Form::Rows, sizes.iter().sum())?;
        let mut parts: Vec<Vec<(usize, Value)>> = group.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
        for (index, value) in outputs {
            for (part, value) in parts.iter_mut().zip(split(value, &sizes).ok_or_else(unlike)?) {
                part.push((index, value));
            }
        }
        let written = group.iter().zip(parts).map(|((_, body), outputs)| {
            text(&Answer { outputs, rows: body.rows, is_named, signature, name: None }, &body.form)
        });
        Ok(written.collect())
    }

    /// Runs once, and counts it.
    fn run(&mut self, inputs: &[InputTensor], form: &Form, rows: usize) -> Result<(Vec<(usize, Value)>, bool)> {
        let mut took = Duration::ZERO;
        let ran = outputs(self.session, inputs, form, self.terms, |wanted| {
            let started = Instant::now();
            let ran = run(self.session, inputs, wanted, self.deadline, self.watch);
            took = started.elapsed();
            ran
        });
        self.cost.run += took;
        if ran.is_ok() {
            self.cost.rows += rows;
        }
        ran
    }
}

fn text(answer: &Answer<'_>, form: &Form) -> Result<Vec<u8>> {
    answer.write(form).map(|(text, _)| text)
}

/// Tensors of one input, one below the other.
fn join<'a>(tensors: impl Iterator<Item = &'a InputTensor> + Clone) -> Option<InputTensor> {
    let first = tensors.clone().next()?;
    let mut shape = first.shape.clone();
    shape[0] = tensors.clone().map(|tensor| tensor.shape[0]).sum();
    let elements = if matches!(first.elements, Elements::Strings(_)) {
        let mut joined = Strings::default();
        for tensor in tensors {
            let Elements::Strings(strings) = &tensor.elements else { return None };
            joined.append(strings);
        }
        Elements::Strings(joined)
    } else {
        let mut joined = Buffer::default();
        for tensor in tensors {
            let data = tensor.elements.raw()?;
            if !data.copy_to(joined.grow(data.bytes())) {
                return None;
            }
        }
        Elements::Owned(joined)
    };
    Some(InputTensor { index: first.index, shape, elements })
}

/// Cuts a value by rows; `None` if it does not have as many.
fn split(value: Value, sizes: &[usize]) -> Option<Vec<Value>> {
    let rows: usize = sizes.iter().sum();
    let has_rows = |shape: &Shape| shape.first().is_some_and(|found| usize::try_from(*found) == Ok(rows));
    let part_of = |shape: &Shape, rows: usize| {
        let mut shape = shape.clone();
        shape[0] = i64::try_from(rows).ok()?;
        Some(shape)
    };
    match value {
        Value::Tensor(EngineTensor { dtype, shape, storage }) if has_rows(&shape) => {
            let mut rest = storage.bytes();
            let per_row = rest.len().checked_div(rows)?;
            let cut = |size: &usize| {
                let (part, more) = rest.split_at_checked(per_row * size)?;
                rest = more;
                let shape = part_of(&shape, *size)?;
                Some(Value::Tensor(EngineTensor { dtype, shape, storage: Box::new(part.to_vec()) }))
            };
            sizes.iter().map(cut).collect()
        }
        Value::Strings(shape, strings) if has_rows(&shape) => {
            let per_row = strings.len().checked_div(rows)?;
            let mut start = 0;
            let cut = |size: &usize| {
                let end = start + per_row * size;
                let part = strings.part(start..end);
                start = end;
                Some(Value::Strings(part_of(&shape, *size)?, part))
            };
            sizes.iter().map(cut).collect()
        }
        Value::Sequence(values) if values.len() == rows => {
            let mut values = values.into_iter();
            Some(sizes.iter().map(|size| Value::Sequence(values.by_ref().take(*size).collect())).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    fn input(shape: &[i64], elements: Elements) -> InputTensor {
        InputTensor { index: 0, shape: Shape::from_slice(shape), elements }
    }

    fn bytes(bytes: &[u8]) -> Elements {
        let mut buffer = Buffer::default();
        buffer.grow(bytes.len()).copy_from_slice(bytes);
        Elements::Owned(buffer)
    }

    fn texts(texts: &[&str]) -> Elements {
        Elements::Strings(texts.iter().copied().collect())
    }

    /// Shape and elements.
    fn shown(value: &Value) -> String {
        match value {
            Value::Tensor(tensor) => format!("{:?} {:?}", &tensor.shape[..], tensor.storage.bytes()),
            Value::Strings(shape, strings) => format!("{:?} {:?}", &shape[..], strings.iter().collect::<Vec<_>>()),
            Value::Sequence(values) => values.iter().map(shown).collect::<Vec<_>>().join("; "),
            other => format!("{other:?}"),
        }
    }

    fn tensor(shape: &[i64], bytes: &[u8]) -> Value {
        let storage = Box::new(bytes.to_vec());
        Value::Tensor(EngineTensor { dtype: DType::Uint8, shape: Shape::from_slice(shape), storage })
    }

    #[test]
    fn tensors_are_joined_by_rows() {
        let parts = [input(&[1, 2], bytes(&[1, 2])), input(&[2, 2], bytes(&[3, 4, 5, 6]))];
        let joined = join(parts.iter()).unwrap();
        let Elements::Owned(buffer) = &joined.elements else { panic!() };
        assert_eq!((&joined.shape[..], buffer.as_bytes()), (&[3, 2][..], &[1, 2, 3, 4, 5, 6][..]));
        let parts = [input(&[1], texts(&["a"])), input(&[2], texts(&["", "b"]))];
        let Elements::Strings(strings) = join(parts.iter()).unwrap().elements else { panic!() };
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["a", "", "b"]);
        let parts = [input(&[1], texts(&["a"])), input(&[1], bytes(&[1]))];
        assert!(join(parts.iter()).is_none());
        assert!(join([].iter()).is_none());
    }

    #[test]
    fn values_are_cut_by_rows() {
        let strings =
            |shape: &[i64], texts: &[&str]| Value::Strings(Shape::from_slice(shape), texts.iter().copied().collect());
        let cases = [
            (tensor(&[3, 2], &[1, 2, 3, 4, 5, 6]), Some(["[1, 2] [1, 2]", "[2, 2] [3, 4, 5, 6]"])),
            (tensor(&[3], &[1, 2, 3]), Some(["[1] [1]", "[2] [2, 3]"])),
            (tensor(&[3, 0], &[]), Some(["[1, 0] []", "[2, 0] []"])),
            (strings(&[3, 1], &["a", "b", "c"]), Some([r#"[1, 1] ["a"]"#, r#"[2, 1] ["b", "c"]"#])),
            (
                Value::Sequence(vec![tensor(&[1], &[1]), tensor(&[1], &[2]), tensor(&[1], &[3])]),
                Some(["[1] [1]", "[1] [2]; [1] [3]"]),
            ),
            (tensor(&[2, 3], &[1, 2, 3, 4, 5, 6]), None),
            (tensor(&[], &[1]), None),
            (strings(&[2], &["a", "b"]), None),
            (Value::Sequence(vec![]), None),
            (Value::Absent, None),
        ];
        for (value, expected) in cases {
            let name = shown(&value);
            let found = split(value, &[1, 2]).map(|parts| parts.iter().map(shown).collect::<Vec<_>>());
            assert_eq!(found, expected.map(|parts| parts.map(str::to_owned).to_vec()), "{name}");
        }
    }
}
