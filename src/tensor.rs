//! Tensors without static types: views of the caller's memory and values the engine made.

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

use smallvec::SmallVec;

/// Dimensions of a tensor; inline for the usual ranks, so a call does not allocate.
pub type Shape = SmallVec<[i64; 6]>;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $size:literal;)*) => {
        /// Element types a tensor can have here: those that ONNX and NumPy share.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DType { $($(#[$doc])* $variant,)* }

        impl DType {
            /// All of them, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// NumPy's name, `"string"` for strings.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Bytes per element; 0 for strings, which have no fixed size.
            pub const fn size(self) -> usize {
                match self { $(Self::$variant => $size,)* }
            }
        }
    };
}

dtypes! {
    /// Half precision.
    Float16 = "float16", 2;
    /// Single precision.
    Float32 = "float32", 4;
    /// Double precision.
    Float64 = "float64", 8;
    /// Signed, 8 bit.
    Int8 = "int8", 1;
    /// Signed, 16 bit.
    Int16 = "int16", 2;
    /// Signed, 32 bit.
    Int32 = "int32", 4;
    /// Signed, 64 bit.
    Int64 = "int64", 8;
    /// Unsigned, 8 bit.
    Uint8 = "uint8", 1;
    /// Unsigned, 16 bit.
    Uint16 = "uint16", 2;
    /// Unsigned, 32 bit.
    Uint32 = "uint32", 4;
    /// Unsigned, 64 bit.
    Uint64 = "uint64", 8;
    /// One byte, 0 or 1.
    Bool = "bool", 1;
    /// UTF-8 text.
    String = "string", 0;
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of elements of `shape`, or `None` if a dimension is negative or the product overflows.
pub fn element_count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))
}

/// Many strings in one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    /// Room for `count` strings.
    pub fn with_capacity(count: usize) -> Self {
        Self { text: String::new(), ends: Vec::with_capacity(count) }
    }

    /// Appends one.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Those of a range of positions, copied; those beyond the end are left out.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let ends = self.ends.get(range.start..range.end.min(self.ends.len())).unwrap_or_default();
        let start = range.start.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = ends.last().copied().unwrap_or(start);
        Self { text: self.text[start..end].to_owned(), ends: ends.iter().map(|end| end - start).collect() }
    }

    /// Appends all of `more`.
    pub fn append(&mut self, more: &Self) {
        let before = self.text.len();
        self.text.push_str(&more.text);
        self.ends.extend(more.ends.iter().map(|end| before + end));
    }

    /// Them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

impl<'a> FromIterator<&'a str> for Strings {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut strings = Self::default();
        for text in texts {
            strings.push(text);
        }
        strings
    }
}

/// Numbers without padding, for which any bytes stand.
pub(crate) trait Number: Copy + Default + sealed::Sealed {}
impl Number for f32 {}
impl Number for f64 {}
impl Number for i32 {}
impl Number for i64 {}

mod sealed {
    /// Keeps [`super::Number`] to the types for which it is true.
    pub(crate) trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
}

/// Plain elements that somebody else owns.
#[derive(Debug, Clone, Copy)]
pub struct RawData {
    pointer: NonNull<u8>,
    bytes: usize,
}

impl RawData {
    /// Borrows memory without tying it to a lifetime, because its owner is a Python object.
    ///
    /// # Safety
    /// `pointer` is valid for reads of `bytes` bytes, and aligned for the element type it is used with, until the last use
    /// of this value; for outputs it is valid for writes as well and nobody else looks at it meanwhile.
    #[allow(unsafe_code)]
    pub unsafe fn new(pointer: NonNull<u8>, bytes: usize) -> Self {
        Self { pointer, bytes }
    }

    /// Its first byte.
    pub fn pointer(self) -> NonNull<u8> {
        self.pointer
    }

    /// Its size.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// `bytes` bytes from `start` on, or `None` if they are not all in it.
    #[allow(unsafe_code)]
    pub fn part(self, start: usize, bytes: usize) -> Option<Self> {
        let end = start.checked_add(bytes)?;
        // SAFETY: the part lies within memory that is valid by the contract of `new`.
        (end <= self.bytes).then(|| Self { pointer: unsafe { self.pointer.add(start) }, bytes })
    }

    /// Copies `bytes` to an output's memory; says whether they are just as many.
    #[allow(unsafe_code)]
    pub(crate) fn copy_from(self, bytes: &[u8]) -> bool {
        if bytes.len() != self.bytes {
            return false;
        }
        // SAFETY: by the contract of `new`, an output's memory is valid for writes and nobody else looks at it, so that it
        // does not overlap `bytes`.
        unsafe { self.pointer.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    /// Copies an input's memory to `bytes`; says whether they are just as many.
    #[allow(unsafe_code)]
    pub(crate) fn copy_to(self, bytes: &mut [u8]) -> bool {
        if bytes.len() != self.bytes {
            return false;
        }
        // SAFETY: by the contract of `new` the memory is valid for reads, and `bytes` is borrowed alone.
        unsafe { self.pointer.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        true
    }

    /// Copies numbers that begin at the element `start` of an input's memory; says whether they are all there.
    #[allow(unsafe_code)]
    pub(crate) fn read<T: Number>(self, start: usize, to: &mut [T]) -> bool {
        let place = start.checked_mul(size_of::<T>()).and_then(|start| self.part(start, size_of_val(to)));
        let Some(Self { pointer, .. }) = place else { return false };
        // SAFETY: the part is valid for reads by the contract of `new` and as long as `to`, which is borrowed alone; any
        // bytes are a number.
        unsafe { pointer.as_ptr().copy_to_nonoverlapping(to.as_mut_ptr().cast(), size_of_val(to)) };
        true
    }

    /// Copies numbers to an output's memory, to begin at its element `start`; says whether there is room for all of them.
    #[allow(unsafe_code)]
    pub(crate) fn write<T: Number>(self, start: usize, from: &[T]) -> bool {
        let place = start.checked_mul(size_of::<T>()).and_then(|start| self.part(start, size_of_val(from)));
        let Some(Self { pointer, .. }) = place else { return false };
        // SAFETY: the part is valid for writes by the contract of `new`, as long as `from`, and nobody else looks at it.
        unsafe { pointer.as_ptr().copy_from_nonoverlapping(from.as_ptr().cast(), size_of_val(from)) };
        true
    }

    /// Sets every byte of an output's memory.
    #[allow(unsafe_code)]
    pub(crate) fn fill(self, byte: u8) {
        // SAFETY: by the contract of `new`, an output's memory is valid for writes and nobody else looks at it.
        unsafe { self.pointer.as_ptr().write_bytes(byte, self.bytes) };
    }

    /// Whether every byte of an output's memory, all of which was set before, is `byte`.
    #[allow(unsafe_code)]
    pub(crate) fn is_filled(self, byte: u8) -> bool {
        // SAFETY: by the contract of `new` the memory is valid for reads, and `fill` has initialised it.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.bytes) }.iter().all(|found| *found == byte)
    }
}

#[allow(unsafe_code)]
// SAFETY: by the contract of `new` the memory stays valid whichever thread uses it, and outputs are not shared.
unsafe impl Send for RawData {}
#[allow(unsafe_code)]
// SAFETY: as above; inputs are only read.
unsafe impl Sync for RawData {}

/// Plain elements in memory of our own, aligned for every dtype.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    words: Vec<u64>,
    bytes: usize,
}

impl Buffer {
    /// This many bytes, all zero.
    pub fn zeroed(bytes: usize) -> Self {
        Self { words: vec![0; bytes.div_ceil(size_of::<u64>())], bytes }
    }

    /// The elements as bytes, in row-major order and native endianness.
    #[allow(unsafe_code)]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the words are initialised memory of at least `bytes` bytes, and every bit pattern is a byte.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes) }
    }

    /// The elements as bytes to write.
    #[allow(unsafe_code)]
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.bytes) }
    }

    /// Makes room for `more` bytes at the end, zero, and gives them to be written.
    pub fn grow(&mut self, more: usize) -> &mut [u8] {
        let start = self.bytes;
        self.bytes += more;
        self.words.resize(self.bytes.div_ceil(size_of::<u64>()), 0);
        &mut self.as_bytes_mut()[start..]
    }

    /// Keeps the first `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        if bytes < self.bytes {
            // Growing hands out zeros, also in the last word.
            let word_end = bytes.next_multiple_of(size_of::<u64>()).min(self.bytes);
            self.as_bytes_mut()[bytes..word_end].fill(0);
            self.bytes = bytes;
            self.words.truncate(bytes.div_ceil(size_of::<u64>()));
        }
    }
}

/// The elements of an input.
#[derive(Debug)]
pub enum Elements {
    /// Memory of the caller, read in place.
    Raw(RawData),
    /// Memory that travels with the tensor.
    Owned(Buffer),
    /// Text, which the engine copies in any case.
    Strings(Strings),
}

impl Elements {
    /// Where plain elements lie, valid while these elements live; `None` for text.
    #[allow(unsafe_code)]
    pub fn raw(&self) -> Option<RawData> {
        match self {
            Self::Raw(data) => Some(*data),
            Self::Owned(buffer) => {
                let pointer = NonNull::from(buffer.as_bytes()).cast();
                // SAFETY: the buffer owns these bytes and is aligned to 8, enough for every dtype. Inputs are only read.
                Some(unsafe { RawData::new(pointer, buffer.bytes) })
            }
            Self::Strings(_) => None,
        }
    }
}

/// One input of a run.
#[derive(Debug)]
pub struct InputTensor {
    /// Which input of the signature it feeds.
    pub index: usize,
    /// Its dimensions, none negative.
    pub shape: Shape,
    /// Its elements in row-major order, of the signature's dtype.
    pub elements: Elements,
}

impl InputTensor {
    /// The rows of a range, which is not beyond the end; plain elements stay where they are.
    ///
    /// The result must not be used after this tensor is gone.
    pub fn rows(&self, range: Range<usize>) -> Option<Self> {
        let rows = usize::try_from(*self.shape.first()?).ok()?;
        let mut shape = self.shape.clone();
        shape[0] = i64::try_from(range.len()).ok()?;
        let elements = match &self.elements {
            Elements::Strings(strings) => {
                let per_row = strings.len().checked_div(rows)?;
                Elements::Strings(strings.part(range.start * per_row..range.end * per_row))
            }
            plain => Elements::Raw(row_range(plain.raw()?, rows, &range)?),
        };
        Some(Self { index: self.index, shape, elements })
    }

    /// The same tensor without its elements' ownership, under the same condition.
    pub fn borrowed(&self) -> Option<Self> {
        let elements = match &self.elements {
            Elements::Strings(strings) => Elements::Strings(strings.clone()),
            plain => Elements::Raw(plain.raw()?),
        };
        Some(Self { index: self.index, shape: self.shape.clone(), elements })
    }
}

impl OutputBuffer {
    /// The rows of a range, which is not beyond the end.
    pub fn rows(&self, range: Range<usize>) -> Option<Self> {
        let rows = usize::try_from(*self.shape.first()?).ok()?;
        let mut shape = self.shape.clone();
        shape[0] = i64::try_from(range.len()).ok()?;
        Some(Self { shape, data: row_range(self.data, rows, &range)? })
    }
}

fn row_range(data: RawData, rows: usize, range: &Range<usize>) -> Option<RawData> {
    let per_row = data.bytes().checked_div(rows)?;
    data.part(range.start.checked_mul(per_row)?, range.len().checked_mul(per_row)?)
}

/// One output of a run that the caller wants.
#[derive(Debug, Clone)]
pub struct OutputRequest {
    /// Which output of the signature.
    pub index: usize,
    /// Memory for it, where its shape is known beforehand.
    pub buffer: Option<OutputBuffer>,
}

/// Memory that the engine writes an output into.
#[derive(Debug, Clone)]
pub struct OutputBuffer {
    /// The shape the caller expects.
    pub shape: Shape,
    /// Room for exactly that many elements of the signature's dtype.
    pub data: RawData,
}

/// What the engine made for one requested output.
#[derive(Debug)]
pub enum Value {
    /// It is in the caller's buffer.
    Written,
    /// A tensor in the engine's memory.
    Tensor(EngineTensor),
    /// A tensor of text.
    Strings(Shape, Strings),
    /// A list of values.
    Sequence(Vec<Value>),
    /// Keys and values of a map; both are tensors of rank 1 and the same length.
    Map(Box<(Value, Value)>),
    /// An optional output that has no value.
    Absent,
}

/// A tensor of plain elements in memory the engine owns.
pub struct EngineTensor {
    /// Element type, never [`DType::String`].
    pub dtype: DType,
    /// Dimensions.
    pub shape: Shape,
    /// The memory; dropping it gives it back to the engine.
    pub storage: Box<dyn Storage>,
}

impl fmt::Debug for EngineTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineTensor").field("dtype", &self.dtype).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Memory of an engine that a tensor lies in.
pub trait Storage: Send {
    /// The elements as bytes, in row-major order and native endianness.
    fn bytes(&self) -> &[u8];
}

impl Storage for Buffer {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Storage for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_counts() {
        let cases: [(&[i64], Option<usize>); 7] = [
            (&[], Some(1)),
            (&[0], Some(0)),
            (&[3, 4], Some(12)),
            (&[0, i64::MAX], Some(0)),
            (&[-1], None),
            (&[i64::MAX, 3], None),
            (&[1 << 40, 1 << 40], None),
        ];
        for (shape, expected) in cases {
            assert_eq!(element_count(shape), expected, "{shape:?}");
        }
    }

    #[test]
    fn buffers_grow_and_stay_aligned() {
        let mut buffer = Buffer::zeroed(3);
        buffer.as_bytes_mut().copy_from_slice(&[1, 2, 3]);
        buffer.grow(0).copy_from_slice(&[]);
        buffer.grow(10)[9] = 7;
        assert_eq!(buffer.as_bytes(), [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        buffer.truncate(20);
        assert_eq!(buffer.as_bytes().len(), 13, "truncating never grows");
        let mut shorter = buffer.clone();
        shorter.truncate(2);
        shorter.grow(1);
        assert_eq!(shorter.as_bytes(), [1, 2, 0], "what was cut off is gone");
        let elements = Elements::Owned(buffer);
        let raw = elements.raw().unwrap();
        assert_eq!((raw.bytes(), raw.pointer().as_ptr().align_offset(8)), (13, 0));
        assert!(Elements::Strings(Strings::default()).raw().is_none());
    }

    #[test]
    fn rows_are_cut_out() {
        let mut buffer = Buffer::zeroed(24);
        (0..24).zip(buffer.as_bytes_mut()).for_each(|(value, byte)| *byte = value);
        let whole = InputTensor { index: 1, shape: Shape::from_slice(&[3, 2]), elements: Elements::Owned(buffer) };
        for (range, start) in [(0..3, 0), (1..2, 8), (2..3, 16), (3..3, 24)] {
            let part = whole.rows(range.clone()).unwrap();
            assert_eq!(part.shape[..], [i64::try_from(range.len()).unwrap(), 2]);
            let (all, part) = (whole.elements.raw().unwrap(), part.elements.raw().unwrap());
            assert_eq!(part.pointer().as_ptr() as usize - all.pointer().as_ptr() as usize, start);
            assert_eq!(part.bytes(), range.len() * 8);
        }
        assert!(whole.rows(2..4).is_none(), "beyond the end");
        let strings = Strings::from_iter(["a", "", "bc", "d"]);
        let whole = InputTensor { index: 0, shape: Shape::from_slice(&[2, 2]), elements: Elements::Strings(strings) };
        let Elements::Strings(part) = whole.rows(1..2).unwrap().elements else { panic!() };
        assert_eq!(part.iter().collect::<Vec<_>>(), ["bc", "d"]);
        let mut joined = part.part(1..2);
        joined.append(&part);
        assert_eq!(joined.iter().collect::<Vec<_>>(), ["d", "bc", "d"]);
        assert_eq!(part.part(0..0).len() + part.part(2..9).len(), 0);
    }

    #[test]
    fn strings_keep_order_and_empties() {
        let mut strings = Strings::with_capacity(3);
        for text in ["", "ä\0b", "", "c"] {
            strings.push(text);
        }
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["", "ä\0b", "", "c"]);
        assert_eq!(strings.len(), 4);
        assert!(!strings.is_empty());
    }
}
