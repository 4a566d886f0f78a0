//! Tensors without static types: views of the caller's memory and values the engine made.

mod memory;
mod strings;

use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

pub(crate) use memory::Number;
pub use memory::{Buffer, RawData};
pub use strings::Strings;

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
    /// Where plain elements lie, valid while these elements live and stay where they are; `None` for text.
    pub fn raw(&self) -> Option<RawData> {
        match self {
            Self::Raw(data) => Some(*data),
            Self::Owned(buffer) => Some(buffer.raw()),
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
