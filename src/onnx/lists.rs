//! Long lists of a file, read an element at a time: a tree ensemble has some 14 of them side by side, of an entry for each node,
//! and tables of all of them took four times the file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor as Bytes, Read, Seek, SeekFrom};
use std::ops::Range;

use super::decode::varint;
use super::outline::{Leave, Outline};

/// Bytes of a list that are in memory at a time, if they are in a file.
const BUFFER: usize = 32 * 1024;
/// Bytes that are at hand when an element is read: more than the longest number with its tag.
const AHEAD: usize = 128;
/// The longest text that is read.
const LONGEST: u64 = 64;

/// Numbers of the fields of `AttributeProto` that are lists.
const FLOATS: u64 = 7;
const INTS: u64 = 8;
const TEXTS: u64 = 9;
/// The number of the field of `TensorProto` that has elements as bytes.
const RAW: u64 = 9;
/// How elements of their own are encoded, and lists of all of them, by the last three bits of a tag.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// A model's bytes, in memory or on disk.
#[derive(Debug)]
pub enum Source<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// On disk.
    File(File),
}

impl Source<'_> {
    /// The messages of its graph, without what is to be left in the file; nothing if they are not as expected.
    pub fn outline(&self, leave: Leave) -> Option<Outline> {
        match self {
            Self::Bytes(bytes) => Outline::read(Bytes::new(bytes), leave),
            Self::File(file) => Outline::read(file, leave),
        }
    }
}

/// A list that is left in the file: what follows the name in an `AttributeProto`.
#[derive(Debug, Clone)]
pub struct List(pub(super) Range<u64>);

/// The elements of a tensor that are left in the file, one after the other.
#[derive(Debug, Clone)]
pub struct Elements {
    /// Of which type they are.
    pub element: Element,
    /// How many there are.
    pub count: usize,
    range: Range<u64>,
}

/// Types of elements that are left in the file, and how they lie there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// float32: read by [`Cursor::float`].
    Float32,
    /// float64: read by [`Cursor::double`].
    Float64,
    /// uint8: read by [`Cursor::byte`].
    Byte,
    /// uint8 as a number of any length: read by [`Cursor::int`].
    Int,
}

impl Elements {
    /// `count` elements of the type with this number in `TensorProto.DataType`, which are in a field with that number;
    /// nothing if they do not fit.
    pub(super) fn new(element: u64, count: usize, field: u64, range: Range<u64>) -> Option<Self> {
        let (element, size) = match (element, field) {
            (1, RAW | 4) => (Element::Float32, 4),
            (11, RAW | 10) => (Element::Float64, 8),
            (2, RAW) => (Element::Byte, 1),
            (2, 5) => (Element::Int, 0),
            _ => return None,
        };
        let fits = size == 0 || (count as u64).checked_mul(size) == range.end.checked_sub(range.start);
        fits.then_some(Self { element, count, range })
    }

    /// The first of them.
    pub fn read<'a>(&self, source: &'a Source<'a>) -> Cursor<'a> {
        let packed = self.range.end - self.range.start;
        Cursor { packed, ..List(self.range.clone()).read(source) }
    }
}

/// Whether a list begins with this byte.
pub(super) fn begins(tag: u8) -> bool {
    let (number, encoding) = (u64::from(tag >> 3), u64::from(tag & 7));
    matches!((number, encoding), (INTS, VARINT) | (FLOATS, FIXED32) | (FLOATS | INTS | TEXTS, LENGTH))
}

/// A place in a list. Each way to read an element ends at the end of the list, and where it is not as expected.
pub struct Cursor<'a> {
    source: &'a Source<'a>,
    /// What of the file is not in the buffer yet.
    left: Range<u64>,
    buffer: Cow<'a, [u8]>,
    at: usize,
    /// Bytes that are left of elements behind one tag.
    packed: u64,
    is_broken: bool,
}

impl List {
    /// How many floats it has, at least about, as they are usually written: each with a tag.
    pub fn floats(&self) -> usize {
        usize::try_from((self.0.end - self.0.start) / 5).unwrap_or(0)
    }

    /// Its beginning.
    pub fn read<'a>(&self, source: &'a Source<'a>) -> Cursor<'a> {
        let (buffer, left) = match source {
            Source::Bytes(bytes) => {
                let range = usize::try_from(self.0.start).ok().zip(usize::try_from(self.0.end).ok());
                let list = range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default();
                (Cow::Borrowed(list), 0..0)
            }
            Source::File(_) => (Cow::Owned(Vec::new()), self.0.clone()),
        };
        Cursor { source, left, buffer, at: 0, packed: 0, is_broken: false }
    }
}

impl Cursor<'_> {
    /// The next whole number.
    #[inline]
    pub fn int(&mut self) -> Option<i64> {
        self.enter(INTS, VARINT)?;
        let mut rest = self.rest();
        let before = rest.len();
        let value = varint(&mut rest);
        let length = before - rest.len();
        self.pass(length, value.map(u64::cast_signed))
    }

    /// The next float.
    #[inline]
    pub fn float(&mut self) -> Option<f32> {
        self.fixed().map(f32::from_le_bytes)
    }

    /// The next float64 of [`Elements`].
    #[inline]
    pub fn double(&mut self) -> Option<f64> {
        self.fixed().map(f64::from_le_bytes)
    }

    /// The next byte of [`Elements`].
    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        self.fixed().map(|[byte]| byte)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.enter(FLOATS, FIXED32)?;
        let value = self.rest().first_chunk().copied();
        self.pass(N, value)
    }

    /// The next text.
    #[inline]
    pub fn text(&mut self) -> Option<&[u8]> {
        self.enter(TEXTS, LENGTH)?;
        let mut rest = self.rest();
        let length = varint(&mut rest).filter(|length| *length <= LONGEST && *length <= rest.len() as u64);
        let Some(length) = length else { return self.fail() };
        let start = self.buffer.len() - rest.len();
        self.at = start + usize::try_from(length).unwrap_or(0);
        self.buffer.get(start..self.at)
    }

    /// Whether an element that was not there was beyond the end of a list that is as expected.
    pub fn has_ended(&self) -> bool {
        !self.is_broken && self.at == self.buffer.len() && self.left.is_empty()
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&mut self) -> Option<T> {
        self.is_broken = true;
        (self.at, self.left, self.buffer, self.packed) = (0, 0..0, Cow::default(), 0);
        None
    }

    /// Makes sure that an element of this field is next.
    #[inline]
    fn enter(&mut self, number: u64, encoding: u64) -> Option<()> {
        if self.buffer.len() - self.at < AHEAD && !self.left.is_empty() {
            self.fill()?;
        }
        if self.packed > 0 {
            return Some(());
        }
        if self.rest().first().is_some_and(|tag| u64::from(*tag) == number << 3 | encoding) {
            self.at += 1;
            return Some(());
        }
        self.enter_list(number, encoding)
    }

    /// The same where elements are behind one tag, or have ended.
    fn enter_list(&mut self, number: u64, encoding: u64) -> Option<()> {
        while !self.rest().is_empty() {
            let tag = self.varint()?;
            match (tag >> 3, tag & 7) {
                (own, LENGTH) if own == number && encoding != LENGTH => self.packed = self.varint()?,
                (own, own_encoding) if own == number && own_encoding == encoding => return Some(()),
                // Documentation and a reference, and the type, which follows from the content.
                (13 | 21, LENGTH) => {
                    let length = self.varint()?;
                    self.skip(length)?;
                }
                (20, VARINT) => _ = self.varint()?,
                _ => return self.fail(),
            }
            if self.buffer.len() - self.at < AHEAD && !self.left.is_empty() {
                self.fill()?;
            }
            if self.packed > 0 {
                return Some(());
            }
        }
        None
    }

    fn varint(&mut self) -> Option<u64> {
        let mut rest = self.rest();
        let before = rest.len();
        let Some(value) = varint(&mut rest) else { return self.fail() };
        self.at += before - rest.len();
        Some(value)
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        let here = length.min(self.rest().len() as u64);
        self.at += usize::try_from(here).unwrap_or(0);
        match self.left.start.checked_add(length - here).filter(|start| *start <= self.left.end) {
            Some(start) => self.left.start = start,
            None => return self.fail(),
        }
        Some(())
    }

    /// Goes beyond an element.
    #[inline]
    fn pass<T>(&mut self, length: usize, value: Option<T>) -> Option<T> {
        self.at += length;
        if self.packed > 0 {
            match self.packed.checked_sub(length as u64) {
                Some(left) => self.packed = left,
                None => return self.fail(),
            }
        }
        if value.is_none() { self.fail() } else { value }
    }

    /// Reads on in the file.
    fn fill(&mut self) -> Option<()> {
        let Source::File(file) = self.source else { return self.fail() };
        let mut buffer = std::mem::take(&mut self.buffer).into_owned();
        buffer.drain(..self.at);
        self.at = 0;
        let wanted = (self.left.end - self.left.start).min((BUFFER - buffer.len()) as u64);
        buffer.reserve_exact(BUFFER.min(buffer.len() + usize::try_from(wanted).unwrap_or(0)) - buffer.len());
        let mut file = file;
        let read = file.seek(SeekFrom::Start(self.left.start)).and_then(|_| file.take(wanted).read_to_end(&mut buffer));
        if read.ok().and_then(|read| u64::try_from(read).ok()) != Some(wanted) {
            return self.fail();
        }
        self.left.start += wanted;
        self.buffer = Cow::Owned(buffer);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What is read of a list in memory and in a file, the same of both, and whether its end is as expected.
    fn read<T: PartialEq + std::fmt::Debug>(list: &[u8], next: fn(&mut Cursor<'_>) -> Option<T>) -> (Vec<T>, bool) {
        // With something before it and behind it.
        let model = [b"before", list, b"behind"].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&model).unwrap();
        let range = 6..6 + list.len() as u64;
        let [memory, disk] = [Source::Bytes(&model), Source::File(file)].map(|source| {
            let mut cursor = List(range.clone()).read(&source);
            let found: Vec<T> = std::iter::from_fn(|| next(&mut cursor)).collect();
            assert!(next(&mut cursor).is_none());
            (found, cursor.has_ended())
        });
        assert_eq!(memory, disk);
        memory
    }

    fn int(list: &mut Cursor<'_>) -> Option<i64> {
        list.int()
    }

    fn float(list: &mut Cursor<'_>) -> Option<f32> {
        list.float()
    }

    #[test]
    fn whole_numbers_are_read_wherever_they_are() {
        let least = [&[8 << 3, 0x80][..], &[0xff; 8], &[1]].concat();
        let cases: [(&[u8], &[i64], bool); 13] = [
            (&[], &[], true),
            (&[8 << 3, 5, 8 << 3, 0x96, 1], &[5, 150], true),
            (&[8 << 3 | 2, 3, 5, 0x96, 1], &[5, 150], true),
            (&[8 << 3, 1, 8 << 3 | 2, 0, 8 << 3 | 2, 1, 2, 8 << 3, 3], &[1, 2, 3], true),
            // The type before them and behind them, documentation and a reference.
            (&[0xa0, 1, 7, 8 << 3, 1, 13 << 3 | 2, 1, b'd', 0xaa, 1, 0, 8 << 3, 2, 0xa0, 1, 7], &[1, 2], true),
            (&least, &[-128], true),
            (&[8 << 3, 1, 8 << 3], &[1], false),
            (&[8 << 3, 1, 8 << 3, 0x80], &[1], false),
            (&[8 << 3 | 2, 2, 1, 0x80, 8 << 3, 1], &[1], false),
            (&[8 << 3 | 2, 9, 1], &[1], false),
            (&[8 << 3, 1, 7 << 3 | 5, 0, 0, 0, 0], &[1], false),
            (&[8 << 3, 1, 3 << 3, 0], &[1], false),
            (&[8 << 3, 1, 13 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &[1], false),
        ];
        for (list, expected, has_ended) in cases {
            assert_eq!(read(list, int), (expected.to_vec(), has_ended), "{list:?}");
        }
    }

    #[test]
    fn lists_go_on_beyond_what_is_in_memory() {
        let numbers: Vec<i64> = (0..40_000).map(|number| (number * 7) % 1000 - 9).collect();
        let varint = |mut value: u64| {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
                value >>= 7;
            }
            bytes.push(u8::try_from(value).unwrap());
            bytes
        };
        let encoded: Vec<Vec<u8>> = numbers.iter().map(|number| varint(number.cast_unsigned())).collect();
        let each: Vec<u8> = encoded.iter().flat_map(|bytes| [&[8 << 3], &bytes[..]].concat()).collect();
        let packed = encoded.concat();
        let documented = [&[13 << 3 | 2][..], &varint(100_000), &vec![0; 100_000], &each].concat();
        let packed = [&[8 << 3 | 2][..], &varint(packed.len() as u64), &packed].concat();
        for list in [&each, &packed, &documented] {
            assert_eq!(read(list, int), (numbers.clone(), true));
        }
        let floats: Vec<u8> =
            (0..20_000_u16).flat_map(|at| [&[7 << 3 | 5][..], &f32::from(at).to_le_bytes()].concat()).collect();
        assert_eq!(read(&floats, float), ((0..20_000_u16).map(f32::from).collect(), true));
        let texts = [9 << 3 | 2, 4, b'L', b'E', b'A', b'F'].repeat(20_000);
        assert_eq!(read(&texts, |list| list.text().map(<[u8]>::to_vec)), (vec![b"LEAF".to_vec(); 20_000], true));
    }

    #[test]
    fn elements_of_tensors_are_read_where_they_lie() {
        let doubles: Vec<u8> = (0..9_000_u16).flat_map(|at| f64::from(at).to_le_bytes()).collect();
        let bytes: Vec<u8> = (0..70_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let model = [&b"before"[..], &doubles, &bytes, &[5, 0x96, 1], b"behind"].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&model).unwrap();
        let ends = [6, 6 + 72_000, 6 + 142_000, 6 + 142_003];
        for source in [Source::Bytes(&model), Source::File(file)] {
            let elements =
                |element, count, field, at: usize| Elements::new(element, count, field, ends[at]..ends[at + 1]);
            for field in [9, 10] {
                let mut cursor = elements(11, 9_000, field, 0).unwrap().read(&source);
                assert!((0..9_000_u16).all(|at| cursor.double() == Some(f64::from(at))));
                assert!(cursor.double().is_none() && cursor.has_ended());
            }
            let mut cursor = elements(2, 70_000, 9, 1).unwrap().read(&source);
            assert!(bytes.iter().all(|byte| cursor.byte() == Some(*byte)));
            assert!(cursor.byte().is_none() && cursor.has_ended());
            let mut cursor = elements(2, 2, 5, 2).unwrap().read(&source);
            assert_eq!([cursor.int(), cursor.int(), cursor.int()], [Some(5), Some(150), None]);
            assert!(cursor.has_ended());
            for (element, count, field) in
                [(11, 8_999, 9), (11, 9_000, 4), (1, 9_000, 9), (7, 9_000, 9), (1, 18_000, 10)]
            {
                assert!(elements(element, count, field, 0).is_none());
            }
        }
    }

    #[test]
    fn floats_and_texts_are_read_to_what_is_broken() {
        let one = 1.5_f32.to_le_bytes();
        let floats = |parts: &[&[u8]]| read(&parts.concat(), float);
        assert_eq!(floats(&[&[7 << 3 | 5], &one, &[7 << 3 | 2, 8], &one, &one]), (vec![1.5; 3], true));
        assert_eq!(floats(&[&[7 << 3 | 5], &one, &[7 << 3 | 5], &one[..3]]), (vec![1.5], false));
        assert_eq!(floats(&[&[7 << 3 | 2, 6], &one, &one]), (vec![1.5], false));
        let texts = |list: &[u8]| read(list, |list| list.text().map(<[u8]>::to_vec));
        let long = [&[9 << 3 | 2, 65][..], &[b'a'; 65]].concat();
        assert_eq!(texts(&[9 << 3 | 2, 1, b'a', 9 << 3 | 2, 0]), (vec![b"a".to_vec(), vec![]], true));
        assert_eq!(texts(&[9 << 3 | 2, 1, b'a', 9 << 3 | 2, 2, b'b']), (vec![b"a".to_vec()], false));
        assert_eq!(texts(&long), (vec![], false));
    }
}
