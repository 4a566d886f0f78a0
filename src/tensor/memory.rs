//! Memory of elements: the caller's, which is only pointed at, and our own.

use std::ptr::NonNull;

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

    /// Appends `count` numbers that begin at the element `start` of an input's memory; says whether they are all there.
    ///
    /// Room for them is not set to 0 first, which took a fifth of the time of large batches of wide rows.
    #[allow(unsafe_code)]
    pub(crate) fn append<T: Number>(self, start: usize, count: usize, to: &mut Vec<T>) -> bool {
        let part = |start: usize| self.part(start, count.checked_mul(size_of::<T>())?);
        let Some(Self { pointer, bytes }) = start.checked_mul(size_of::<T>()).and_then(part) else { return false };
        to.reserve(count);
        // SAFETY: the part is valid for reads by the contract of `new`, and the list, which is borrowed alone, has room for
        // as many bytes behind its numbers; any bytes are a number, so that `count` more are there then.
        unsafe {
            pointer.as_ptr().copy_to_nonoverlapping(to.as_mut_ptr().add(to.len()).cast(), bytes);
            to.set_len(to.len() + count);
        }
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
    words: Words,
    /// Those behind them are zero, up to the end of the words.
    bytes: usize,
}

/// Elements of one row of a column need no memory elsewhere: a row of many inputs would take as many pieces.
#[derive(Debug, Clone)]
enum Words {
    Few([u64; FEW]),
    Many(Vec<u64>),
}

const FEW: usize = 2;

impl Default for Words {
    fn default() -> Self {
        Self::Few([0; FEW])
    }
}

impl Buffer {
    /// This many bytes, all zero.
    pub fn zeroed(bytes: usize) -> Self {
        let count = bytes.div_ceil(size_of::<u64>());
        Self { words: if count <= FEW { Words::default() } else { Words::Many(vec![0; count]) }, bytes }
    }

    fn words(&self) -> &[u64] {
        match &self.words {
            Words::Few(words) => words,
            Words::Many(words) => words,
        }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        match &mut self.words {
            Words::Few(words) => words,
            Words::Many(words) => words,
        }
    }

    /// The elements as bytes, in row-major order and native endianness.
    #[allow(unsafe_code)]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the words are initialised memory of at least `bytes` bytes, and every bit pattern is a byte.
        unsafe { std::slice::from_raw_parts(self.words().as_ptr().cast(), self.bytes) }
    }

    /// The elements as bytes to write.
    #[allow(unsafe_code)]
    #[inline]
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes;
        // SAFETY: as in `as_bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.words_mut().as_mut_ptr().cast(), bytes) }
    }

    /// Makes room for `more` bytes at the end, zero, and gives them to be written.
    pub fn grow(&mut self, more: usize) -> &mut [u8] {
        let start = self.bytes;
        self.bytes += more;
        let count = self.bytes.div_ceil(size_of::<u64>());
        match &mut self.words {
            Words::Few(words) if count > FEW => {
                let mut many = Vec::with_capacity(count);
                many.extend_from_slice(words);
                many.resize(count, 0);
                self.words = Words::Many(many);
            }
            Words::Few(_) => {}
            Words::Many(words) => words.resize(count, 0),
        }
        &mut self.as_bytes_mut()[start..]
    }

    /// Keeps the first `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        if bytes < self.bytes {
            // Growing hands out zeros, also in words that are there already.
            let count = bytes.div_ceil(size_of::<u64>());
            let kept = if matches!(self.words, Words::Few(_)) { self.bytes } else { count * size_of::<u64>() };
            let end = kept.min(self.bytes);
            self.as_bytes_mut()[bytes..end].fill(0);
            self.bytes = bytes;
            if let Words::Many(words) = &mut self.words {
                words.truncate(count);
            }
        }
    }

    /// Where they lie, valid while the buffer lives and stays where it is. It is only to be read.
    #[allow(unsafe_code)]
    pub(super) fn raw(&self) -> RawData {
        let pointer = NonNull::from(self.as_bytes()).cast();
        // SAFETY: the buffer owns these bytes, aligned to 8, enough for every dtype; that it stays is the caller's to see to.
        unsafe { RawData::new(pointer, self.bytes) }
    }
}
