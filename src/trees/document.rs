//! JSON and UBJSON (draft 12, <https://ubjson.org>) as values, for models that are written in either.
//!
//! Lists of numbers are held as such. The elements of one list, the trees, are handed on one by one and not kept.

use jiter::{Jiter, Peek};

/// How deep most documents may be; `XGBoost`'s have 8 levels.
pub(super) const DEEPEST: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Numbers(Vec<f64>),
    /// A number, or a truth value as 1 or 0.
    Number(f64),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
    /// Anything else, and what was passed over.
    Nothing,
}

impl Value {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A member of a member.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// The text of a member of a member.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        match self.at(path) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Numbers; an empty list has none.
    pub(super) fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            Self::List(items) if items.is_empty() => Some(&[]),
            _ => None,
        }
    }
}

/// What is passed over, and whose elements are handed on.
pub(super) struct Wanted<'a> {
    /// Keys whose values are not needed.
    pub(super) skipped: &'a [&'static str],
    /// The keys of the lists whose elements go to `take`.
    pub(super) lists: &'a [&'static str],
    pub(super) take: &'a mut dyn FnMut(Value) -> Result<(), String>,
    /// Documents with more values within each other are refused.
    pub(super) deepest: usize,
}

/// Reads a document, JSON unless its second byte is a mark of UBJSON.
pub(super) fn read(bytes: &[u8], mut wanted: Wanted<'_>) -> Result<Value, String> {
    if bytes.get(1).is_some_and(|mark| matches!(mark, b'L' | b'l' | b'I' | b'i' | b'U' | b'$' | b'#')) {
        let mut reader = Ubjson { bytes };
        let mark = reader.byte()?;
        return reader.value(mark, "", &mut wanted, 0);
    }
    let mut jiter = Jiter::new(bytes).with_allow_inf_nan();
    let peek = jiter.peek().map_err(|error| error.to_string())?;
    let value = json(&mut jiter, peek, "", &mut wanted, 0)?;
    jiter.finish().map_err(|error| error.to_string())?;
    Ok(value)
}

/// A list on its way: of numbers as long as there is nothing else.
fn push(list: &mut Value, item: Value) {
    match (list, item) {
        (Value::Numbers(numbers), Value::Number(number)) => numbers.push(number),
        (Value::List(items), item) => items.push(item),
        (list, item) => {
            let Value::Numbers(numbers) = std::mem::replace(list, Value::Nothing) else { return };
            *list = Value::List(numbers.into_iter().map(Value::Number).chain([item]).collect());
        }
    }
}

fn deeper(depth: usize, deepest: usize) -> Result<usize, String> {
    (depth < deepest).then_some(depth + 1).ok_or_else(|| format!("is nested deeper than {deepest}"))
}

fn json(jiter: &mut Jiter<'_>, peek: Peek, key: &str, wanted: &mut Wanted<'_>, depth: usize) -> Result<Value, String> {
    let wrong = |error: jiter::JiterError| error.to_string();
    let depth = deeper(depth, wanted.deepest)?;
    match peek {
        Peek::Array => {
            let is_taken = wanted.lists.contains(&key);
            let mut numbers = Vec::new();
            let mut next = jiter.known_array().map_err(wrong)?;
            // Most are of nothing but numbers.
            while let Some(peek) = next.filter(|peek| peek.is_num() && !is_taken) {
                numbers.push(jiter.known_float(peek).map_err(wrong)?);
                next = jiter.array_step().map_err(wrong)?;
            }
            let mut list = Value::Numbers(numbers);
            while let Some(peek) = next {
                let item = json(jiter, peek, "", wanted, depth)?;
                if is_taken {
                    (wanted.take)(item)?;
                } else {
                    push(&mut list, item);
                }
                next = jiter.array_step().map_err(wrong)?;
            }
            Ok(list)
        }
        Peek::Object => {
            let mut members = Vec::new();
            let mut next = jiter.known_object().map_err(wrong)?.map(str::to_owned);
            while let Some(key) = next {
                if wanted.skipped.contains(&key.as_str()) {
                    jiter.next_skip().map_err(wrong)?;
                } else {
                    let peek = jiter.peek().map_err(wrong)?;
                    let value = json(jiter, peek, &key, wanted, depth)?;
                    members.push((key, value));
                }
                next = jiter.next_key().map_err(wrong)?.map(str::to_owned);
            }
            Ok(Value::Object(members))
        }
        Peek::String => jiter.known_str().map(|text| Value::Text(text.to_owned())).map_err(wrong),
        Peek::True | Peek::False => {
            jiter.known_bool(peek).map(|value| Value::Number(f64::from(u8::from(value)))).map_err(wrong)
        }
        peek if peek.is_num() => jiter.known_float(peek).map(Value::Number).map_err(wrong),
        _ => jiter.next_skip().map(|()| Value::Nothing).map_err(wrong),
    }
}

/// A number as the whole number that it is.
#[allow(clippy::cast_possible_truncation, reason = "compared with what it was")]
pub(super) fn whole(value: f64) -> Option<i32> {
    let whole = value as i32;
    (f64::from(whole).to_bits() == (value + 0.0).to_bits()).then_some(whole)
}

/// The same, if it is not negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared with what it was")]
pub(super) fn natural(value: f64) -> Option<u32> {
    let natural = value as u32;
    (f64::from(natural).to_bits() == (value + 0.0).to_bits()).then_some(natural)
}

struct Ubjson<'a> {
    bytes: &'a [u8],
}

/// Bytes of a number with this mark.
fn size_of_number(mark: u8) -> Option<usize> {
    Some(match mark {
        b'i' | b'U' => 1,
        b'I' => 2,
        b'l' | b'd' => 4,
        b'L' | b'D' => 8,
        _ => return None,
    })
}

/// Reads as many numbers of one kind.
#[inline]
#[allow(clippy::cast_precision_loss, reason = "beyond 2^53 there are no counts, features or nodes")]
fn numbers(mark: u8, bytes: &[u8], numbers: &mut [f64]) {
    fn each<const N: usize>(bytes: &[u8], numbers: &mut [f64], read: impl Fn([u8; N]) -> f64) {
        numbers.iter_mut().zip(bytes.as_chunks().0).for_each(|(number, bytes)| *number = read(*bytes));
    }
    match mark {
        b'i' => each(bytes, numbers, |bytes| f64::from(i8::from_be_bytes(bytes))),
        b'U' => each(bytes, numbers, |[byte]| f64::from(byte)),
        b'I' => each(bytes, numbers, |bytes| f64::from(i16::from_be_bytes(bytes))),
        b'l' => each(bytes, numbers, |bytes| f64::from(i32::from_be_bytes(bytes))),
        b'L' => each(bytes, numbers, |bytes| i64::from_be_bytes(bytes) as f64),
        b'd' => each(bytes, numbers, |bytes| f64::from(f32::from_be_bytes(bytes))),
        _ => each(bytes, numbers, f64::from_be_bytes),
    }
}

impl<'a> Ubjson<'a> {
    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or("ends too early")?;
        self.bytes = rest;
        Ok(taken)
    }

    /// A number after its mark, if that is the mark of one.
    fn number(&mut self, mark: u8) -> Result<Option<f64>, String> {
        let Some(size) = size_of_number(mark) else { return Ok(None) };
        let mut number = [0.0];
        numbers(mark, self.take(size)?, &mut number);
        Ok(Some(number[0]))
    }

    /// A length: a whole number that is not beyond what is left.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    fn length(&mut self) -> Result<usize, String> {
        let mark = self.byte()?;
        let length = self.number(mark)?.ok_or("has no length where one is expected")?;
        let most = self.bytes.len();
        if length >= 0.0 && length.fract() == 0.0 && (length as usize) <= most {
            return Ok(length as usize);
        }
        Err(format!("claims a length of {length} where {most} bytes are left"))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        self.take(length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn value(&mut self, mark: u8, key: &str, wanted: &mut Wanted<'_>, depth: usize) -> Result<Value, String> {
        if let Some(number) = self.number(mark)? {
            return Ok(Value::Number(number));
        }
        let depth = deeper(depth, wanted.deepest)?;
        match mark {
            b'S' | b'H' => self.text().map(Value::Text),
            b'C' => self.byte().map(|byte| Value::Text(char::from(byte).to_string())),
            b'T' | b'F' => Ok(Value::Number(f64::from(u8::from(mark == b'T')))),
            b'Z' => Ok(Value::Nothing),
            b'[' => self.list(key, wanted, depth),
            b'{' => self.object(wanted, depth),
            other => Err(format!("has the byte {other} where a value is expected")),
        }
    }

    /// The type and count after a bracket, if they are given.
    fn shape(&mut self) -> Result<(Option<u8>, Option<usize>), String> {
        let mut kind = None;
        if self.bytes.first() == Some(&b'$') {
            self.take(1)?;
            kind = Some(self.byte()?);
            // A few bytes would stand for as many elements as there are bytes left, and lists in lists for their square.
            if matches!(kind, Some(b'Z' | b'N' | b'T' | b'F')) {
                return Err("has elements of a type that takes no bytes".to_owned());
            }
        }
        if self.bytes.first() == Some(&b'#') {
            self.take(1)?;
            return Ok((kind, Some(self.length()?)));
        }
        kind.map_or(Ok((None, None)), |_| Err("has a type without a count".to_owned()))
    }

    fn list(&mut self, key: &str, wanted: &mut Wanted<'_>, depth: usize) -> Result<Value, String> {
        let (kind, count) = self.shape()?;
        let is_taken = wanted.lists.contains(&key);
        if let Some((kind, count)) = kind.zip(count)
            && let Some(size) = size_of_number(kind)
            && !is_taken
        {
            let bytes = self.take(count.saturating_mul(size))?;
            if wanted.skipped.contains(&key) {
                return Ok(Value::Nothing);
            }
            let mut list = vec![0.0; count];
            numbers(kind, bytes, &mut list);
            return Ok(Value::Numbers(list));
        }
        let mut list = Value::Numbers(Vec::new());
        let mut seen = 0;
        while count.is_none_or(|count| seen < count) {
            let mark = match kind {
                Some(kind) => kind,
                None => self.byte()?,
            };
            match mark {
                b']' if count.is_none() => break,
                b'N' => {}
                mark => {
                    let item = self.value(mark, "", wanted, depth)?;
                    if is_taken { (wanted.take)(item)? } else { push(&mut list, item) }
                }
            }
            seen += 1;
        }
        Ok(list)
    }

    fn object(&mut self, wanted: &mut Wanted<'_>, depth: usize) -> Result<Value, String> {
        let (kind, count) = self.shape()?;
        let mut members = Vec::new();
        while count.is_none_or(|count| members.len() < count) {
            if count.is_none() && self.bytes.first() == Some(&b'}') {
                self.take(1)?;
                break;
            }
            let key = self.text()?;
            let mark = match kind {
                Some(kind) => kind,
                None => self.byte()?,
            };
            let mut value = self.value(mark, &key, wanted, depth)?;
            if wanted.skipped.contains(&key.as_str()) {
                value = Value::Nothing;
            }
            members.push((key, value));
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Value, String> {
        read(bytes, Wanted { skipped: &["skip"], lists: &["trees"], take: &mut |_| Ok(()), deepest: DEEPEST })
    }

    #[test]
    fn both_forms_come_to_the_same_values() {
        let mut taken = Vec::new();
        let mut trees = |bytes: &[u8]| {
            let wanted = Wanted {
                skipped: &["skip"],
                lists: &["trees"],
                deepest: DEEPEST,
                take: &mut |tree| {
                    taken.push(tree);
                    Ok(())
                },
            };
            read(bytes, wanted).unwrap()
        };
        let json =
            br#"{"a": [1, 2.5, -3], "t": "x", "m": [1, "b"], "e": [], "skip": [1], "trees": [{"k": 7}], "n": null}"#;
        let binary = b"{i\x01a[$d#i\x03\x3f\x80\0\0\x40\x20\0\0\xc0\x40\0\0i\x01tSi\x01xi\x01m[i\x01Si\x01b]i\x01e[#L\0\0\0\0\0\0\0\0\
            i\x04skip[$l#U\x01\0\0\0\x01i\x05trees[{U\x01kI\0\x07}]i\x01nZ}";
        let (first, second) = (trees(json), trees(binary));
        for name in ["a", "t", "m", "e", "n", "trees"] {
            assert_eq!(first.get(name), second.get(name), "{name}");
        }
        assert_eq!(first.get("a").and_then(Value::numbers), Some(&[1.0, 2.5, -3.0][..]));
        assert_eq!(taken, [Value::Object(vec![("k".into(), Value::Number(7.0))]), taken[0].clone()]);
    }

    #[test]
    fn lists_of_one_type_are_those_of_marks_one_by_one() {
        let cases: [(u8, &[u8], [f64; 2]); 7] = [
            (b'i', b"\x80\x07", [-128.0, 7.0]),
            (b'U', b"\x80\x07", [128.0, 7.0]),
            (b'I', b"\x80\0\0\x07", [-32768.0, 7.0]),
            (b'l', b"\xff\xff\xff\xff\0\0\x01\0", [-1.0, 256.0]),
            (b'L', b"\xff\xff\xff\xff\xff\xff\xff\xfe\0\0\0\x01\0\0\0\0", [-2.0, 4_294_967_296.0]),
            (b'd', b"\xbf\x80\0\0\x7f\x80\0\0", [-1.0, f64::INFINITY]),
            (b'D', b"\x3f\xf8\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", [1.5, 5e-324]),
        ];
        for (mark, bytes, expected) in cases {
            let (one, two) = bytes.split_at(bytes.len() / 2);
            let typed = [&[b'$', mark, b'#', b'i', 2][..], bytes].concat();
            let untyped = [&[mark][..], one, &[mark], two, b"]"].concat();
            for list in [&typed, &untyped] {
                let document = all(&[&b"{i\x01a["[..], list, b"i\x04skip[", list, b"}"].concat()).unwrap();
                assert_eq!(document.get("a").and_then(Value::numbers), Some(&expected[..]), "{}", char::from(mark));
                assert_eq!(document.get("skip"), Some(&Value::Nothing));
            }
            all(&[&b"{i\x01a["[..], &typed[..typed.len() - 1]].concat()).unwrap_err();
        }
    }

    #[test]
    fn broken_documents_are_refused() {
        let deep = b"[".repeat(1000);
        let cases: [&[u8]; 13] = [
            b"",
            b"{",
            b"{\"a\": 1",
            b"{\"a\": 1} x",
            &deep,
            b"{i\x05ab",
            b"{i\x01a[$d#l\x7f\xff\xff\xff",
            b"{i\x01a[$d\0",
            b"{i\x01aX",
            b"{i\x01a[$Z#i\x01}",
            b"{i\x01a[$N#i\x01}",
            b"{i\x01a[$T#i\x01}",
            b"{i\x01a[$F#i\x01}",
        ];
        for bytes in cases {
            all(bytes).unwrap_err();
        }
        let deep: Vec<u8> = [&b"{i\x01a"[..], &b"[".repeat(1000)].concat();
        all(&deep).unwrap_err();
    }
}
