//! Bytes of the journal's payloads: little-endian numbers, varints and bounded strings.
//!
//! Reading never panics and never allocates more than the input is long: every length is checked
//! against what is left.

use super::record::RecordError;

/// Builds a payload.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// LEB128: seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// IEEE 754 double, little-endian.
    pub(super) fn double(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// IEEE 754 single, little-endian: enough for a point of a chart.
    pub(super) fn single(&mut self, value: f32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A varint of the length, then the bytes; longer text is cut at a character's border.
    pub(super) fn text(&mut self, text: &str, limit: usize) {
        let text = clip(text, limit);
        self.varint(text.len() as u64);
        self.raw(text.as_bytes());
    }
}

/// Reads a payload.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn varint(&mut self) -> Result<u64, RecordError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
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

    pub(super) fn small(&mut self) -> Result<u32, RecordError> {
        u32::try_from(self.varint()?).map_err(|_| RecordError::BadValue("number"))
    }

    /// A difficulty or a sum of them: at most [`MAX_AMOUNT`] and not negative.
    pub(super) fn amount(&mut self) -> Result<f64, RecordError> {
        let bytes = self.take(8)?.try_into().expect("took eight bytes");
        let value = f64::from_le_bytes(bytes);
        if (0.0..=MAX_AMOUNT).contains(&value) {
            Ok(value)
        } else {
            Err(RecordError::BadValue("difficulty"))
        }
    }

    pub(super) fn small_amount(&mut self) -> Result<f32, RecordError> {
        let bytes = self.take(4)?.try_into().expect("took four bytes");
        let value = f32::from_le_bytes(bytes);
        if value.is_finite() && value >= 0.0 {
            Ok(value)
        } else {
            Err(RecordError::BadValue("difficulty"))
        }
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32], RecordError> {
        Ok(self.take(32)?.try_into().expect("took 32 bytes"))
    }

    pub(super) fn flag(&mut self) -> Result<bool, RecordError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::BadValue("flag")),
        }
    }

    pub(super) fn text(&mut self, limit: usize) -> Result<String, RecordError> {
        let length = self.varint()?;
        if length > limit as u64 {
            return Err(RecordError::BadValue("text"));
        }
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::BadValue("text"))?;
        Ok(text.to_owned())
    }

    pub(super) fn end(&self) -> Result<(), RecordError> {
        if self.0.is_empty() { Ok(()) } else { Err(RecordError::Trailing) }
    }
}

/// More than the highest difficulty there is (2²²⁴), and far enough from infinity for any sum.
const MAX_AMOUNT: f64 = 1e90;

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
            let mut writer = Writer::default();
            writer.varint(value);
            let mut reader = Reader(&writer.0);
            prop_assert_eq!(reader.varint(), Ok(value));
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
        assert_eq!(Reader(&[0xff; 11]).varint(), Err(RecordError::BadValue("number")));
        assert_eq!(Reader(&[0x80]).varint(), Err(RecordError::Short));
    }
}
