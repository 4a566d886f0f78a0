//! Walks protobuf messages in a file without reading what it does not need.
//!
//! A full decoder would copy every weight; this one seeks over them, so a scan of a model costs what its structure costs.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

/// Where and how the bytes stop being a protobuf message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: u64,
    pub(crate) what: String,
}

/// One field's number and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) number: u64,
    pub(crate) content: Content,
}

/// Content of a field; a message or byte string is left for the caller to read, enter or skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Varint(u64),
    Fixed,
    /// A message, string or packed list that ends at this position.
    Until(u64),
}

/// A position in a protobuf file.
pub(crate) struct Walker<R> {
    inner: BufReader<R>,
    position: u64,
}

impl<R: Read + Seek> Walker<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner: BufReader::with_capacity(64 * 1024, inner), position: 0 }
    }

    /// The next field of the message that ends at `end`, or `None` at its end.
    pub(crate) fn field(&mut self, end: u64) -> Result<Option<Field>, Malformed> {
        if self.position >= end {
            return Ok(None);
        }
        let at = self.position;
        let tag = self.varint(end)?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint(end)?),
            1 => self.fixed(8, end)?,
            2 => {
                let length = self.varint(end)?;
                match self.position.checked_add(length) {
                    Some(stop) if stop <= end => Content::Until(stop),
                    _ => {
                        let left = end - self.position;
                        return self.malformed(format!("a field claims {length} bytes where {left} are left"));
                    }
                }
            }
            5 => self.fixed(4, end)?,
            other => return Err(Malformed { at, what: format!("byte that starts no field (wire type {other})") }),
        };
        match tag >> 3 {
            0 => Err(Malformed { at, what: "field number 0".to_owned() }),
            number => Ok(Some(Field { number, content })),
        }
    }

    /// Moves to `position`, which is not before the current one.
    pub(crate) fn skip_to(&mut self, position: u64) -> Result<(), Malformed> {
        let distance = i64::try_from(position.saturating_sub(self.position));
        match distance.map(|distance| self.inner.seek_relative(distance)) {
            Ok(Ok(())) => {
                self.position = position.max(self.position);
                Ok(())
            }
            _ => self.malformed("the file cannot be read further".to_owned()),
        }
    }

    /// The bytes up to `end` as text, at most `most` of them; invalid UTF-8 is replaced.
    pub(crate) fn text(&mut self, end: u64, most: u64) -> Result<String, Malformed> {
        let length = end.saturating_sub(self.position);
        if length > most {
            return self.malformed(format!("a name of {length} bytes, at most {most} expected"));
        }
        self.bytes(end).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes up to `end`, which the caller knows to be few.
    pub(crate) fn bytes(&mut self, end: u64) -> Result<Vec<u8>, Malformed> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(self.position)).unwrap_or(0)];
        if self.inner.read_exact(&mut bytes).is_err() {
            return self.malformed("the file ends inside a name".to_owned());
        }
        self.position = end;
        Ok(bytes)
    }

    pub(crate) fn varint(&mut self, end: u64) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            if self.position >= end {
                return self.malformed("the file ends inside a number".to_owned());
            }
            let mut byte = [0];
            if self.inner.read_exact(&mut byte).is_err() {
                return self.malformed("the file ends inside a number".to_owned());
            }
            self.position += 1;
            // The tenth byte holds one bit; more would overflow 64 bits.
            if shift == 63 && byte[0] > 1 {
                break;
            }
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        self.malformed("a number of more than 64 bits".to_owned())
    }

    /// The byte that comes next, if there is one before `end`.
    pub(crate) fn next_byte(&mut self, end: u64) -> Option<u8> {
        if self.position < end { self.inner.fill_buf().ok()?.first().copied() } else { None }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn fixed(&mut self, size: u64, end: u64) -> Result<Content, Malformed> {
        match self.position + size {
            stop if stop <= end => self.skip_to(stop).map(|()| Content::Fixed),
            _ => self.malformed("the file ends inside a number".to_owned()),
        }
    }

    pub(crate) fn malformed<T>(&self, what: String) -> Result<T, Malformed> {
        Err(Malformed { at: self.position, what })
    }
}

/// The length of what `inner` reads.
pub(crate) fn length_of(inner: &mut impl Seek) -> std::io::Result<u64> {
    let length = inner.seek(SeekFrom::End(0))?;
    inner.rewind()?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn walk(bytes: &[u8]) -> Result<Vec<Field>, Malformed> {
        let end = bytes.len() as u64;
        let mut walker = Walker::new(Cursor::new(bytes));
        let mut fields = Vec::new();
        while let Some(field) = walker.field(end)? {
            if let Content::Until(stop) = field.content {
                walker.skip_to(stop)?;
            }
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn fields_are_found() {
        let got = walk(&[0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0]);
        let expected = [
            Field { number: 1, content: Content::Varint(150) },
            Field { number: 2, content: Content::Until(7) },
            Field { number: 3, content: Content::Fixed },
            Field { number: 4, content: Content::Fixed },
        ];
        assert_eq!(got.as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn broken_bytes_are_named() {
        let cases: [(&[u8], &str); 8] = [
            (&[0x08], "ends inside a number"),
            (&[0x08, 0x80], "ends inside a number"),
            (&[0x12, 5, b'a'], "claims 5 bytes where 1 are left"),
            (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "claims"),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "more than 64 bits"),
            (&[0x0b], "starts no field"),
            (&[0x00, 0], "field number 0"),
            (&[0x1d, 0, 0], "ends inside a number"),
        ];
        for (bytes, words) in cases {
            let error = walk(bytes).map_err(|malformed| malformed.what);
            assert!(error.as_ref().is_err_and(|what| what.contains(words)), "{bytes:?}: {error:?}");
        }
    }
}
