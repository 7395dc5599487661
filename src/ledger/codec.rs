//! Bytes of the journal's payloads: little-endian numbers, varints and bounded strings.
//!
//! Reading never panics and never allocates more than the input is long: every length is checked
//! against what is left.

/// Why a payload cannot be read. The frame's CRC was right, so the usual cause is a program that
/// wrote something else under the same kind and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too early.
    #[error("the record is too short")]
    Short,
    /// Something follows its end.
    #[error("the record is too long")]
    Trailing,
    /// A field has a value that it cannot have.
    #[error("the record has an impossible {0}")]
    BadValue(&'static str),
}

/// A value that can stand in a payload.
pub(super) trait Field: Sized {
    fn write(&self, to: &mut Vec<u8>);

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordError>;
}

/// A struct stands in a payload as its fields, in the order in which they are named here.
macro_rules! fields {
    ($name:ident { $($field:tt),+ }) => {
        impl Field for $name {
            fn write(&self, to: &mut Vec<u8>) {
                $(self.$field.write(to);)+
            }

            fn read(from: &mut Reader<'_>) -> Result<$name, RecordError> {
                Ok($name { $($field: Field::read(from)?),+ })
            }
        }
    };
}
pub(super) use fields;

/// Reads a payload.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// What is left.
    pub bytes: &'a [u8],
    /// The version of the record's layout.
    pub version: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or(RecordError::Short)?;
        self.bytes = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        Ok(self.take(N)?.try_into().expect("took as many bytes"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn text(&mut self, limit: usize) -> Result<String, RecordError> {
        let length = u64::read(self)?;
        if length > limit as u64 {
            return Err(RecordError::BadValue("text"));
        }
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::BadValue("text"))?;
        Ok(text.to_owned())
    }

    pub(super) fn end(&self) -> Result<(), RecordError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(RecordError::Trailing) }
    }
}

/// LEB128: seven bits a byte, the lowest first.
impl Field for u64 {
    fn write(&self, to: &mut Vec<u8>) {
        let mut value = *self;
        while value >= 0x80 {
            to.push(value as u8 | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<u64, RecordError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = from.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(RecordError::BadValue("number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::BadValue("number"))
    }
}

impl Field for u32 {
    fn write(&self, to: &mut Vec<u8>) {
        u64::from(*self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<u32, RecordError> {
        u32::try_from(u64::read(from)?).map_err(|_| RecordError::BadValue("number"))
    }
}

/// A difficulty or a sum of them: an IEEE 754 double, at most [`MAX_AMOUNT`] and not negative.
impl Field for f64 {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<f64, RecordError> {
        let value = f64::from_le_bytes(from.array()?);
        let is_possible = (0.0..=MAX_AMOUNT).contains(&value);
        is_possible.then_some(value).ok_or(RecordError::BadValue("difficulty"))
    }
}

/// The same as an IEEE 754 single: enough for a point of a chart.
impl Field for f32 {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<f32, RecordError> {
        let value = f32::from_le_bytes(from.array()?);
        let is_possible = value.is_finite() && value >= 0.0;
        is_possible.then_some(value).ok_or(RecordError::BadValue("difficulty"))
    }
}

impl Field for bool {
    fn write(&self, to: &mut Vec<u8>) {
        to.push((*self).into());
    }

    fn read(from: &mut Reader<'_>) -> Result<bool, RecordError> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::BadValue("flag")),
        }
    }
}

/// A flag, and the value if it is set.
impl<T: Field> Field for Option<T> {
    fn write(&self, to: &mut Vec<u8>) {
        self.is_some().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Option<T>, RecordError> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl Field for String {
    fn write(&self, to: &mut Vec<u8>) {
        write_text(self, MAX_TEXT, to);
    }

    fn read(from: &mut Reader<'_>) -> Result<String, RecordError> {
        from.text(MAX_TEXT)
    }
}

/// The longest text in bytes, where a field has no lower limit.
pub const MAX_TEXT: usize = 512;
/// More than the highest difficulty there is (2²²⁴), and far enough from infinity for any sum.
pub(super) const MAX_AMOUNT: f64 = 1e90;

/// A varint of the length, then the bytes; longer text is cut at a character's border.
pub(super) fn write_text(text: &str, limit: usize, to: &mut Vec<u8>) {
    let text = clip(text, limit);
    (text.len() as u64).write(to);
    to.extend_from_slice(text.as_bytes());
}

/// The longest start of `text` that is at most `limit` bytes and ends between two characters.
pub(super) fn clip(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_comes_back(value: u64) {
            let mut bytes = Vec::new();
            value.write(&mut bytes);
            let mut reader = Reader { bytes: &bytes, version: 1 };
            prop_assert_eq!(u64::read(&mut reader), Ok(value));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn clipping_keeps_whole_characters(text: String, limit in 0_usize..40) {
            let clipped = clip(&text, limit);
            prop_assert!(clipped.len() <= limit && text.starts_with(clipped));
        }
    }

    #[test]
    fn an_overlong_varint_is_refused() {
        let read = |bytes| u64::read(&mut Reader { bytes, version: 1 });
        assert_eq!(read(&[0xff; 11]), Err(RecordError::BadValue("number")));
        assert_eq!(read(&[0x80]), Err(RecordError::Short));
    }
}
