//! Records in a file that is only appended to: each with its length and a checksum, so that a file that
//! was cut short or damaged is read up to there and no further.
//!
//! ```text
//! record:  length u32 | CRC-32 of the rest u32 | kind u8 | fields, little-endian
//! ```

/// Appends a record of this kind with the fields that `fields` writes.
pub fn write(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.push(kind);
    fields(out);
    let payload = &out[start + 8..];
    let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Appends bytes with their number before them.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Takes the next record from `rest`: its kind and its fields. `None` at the end, and where a record is
/// cut short, longer than `longest` or damaged.
pub fn take<'a>(rest: &mut &'a [u8], longest: usize) -> Option<&'a [u8]> {
    let mut fields = Fields(rest);
    let (length, crc) = (fields.number()? as usize, fields.number()?);
    if length > longest {
        return None;
    }
    let (payload, after) = fields.0.split_at_checked(length)?;
    *rest = after;
    (crc32fast::hash(payload) == crc).then_some(payload)
}

/// The remaining fields of a record. Each method is `None` where too few bytes are left.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// A number of four bytes.
    pub fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of eight bytes.
    pub fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A floating-point number.
    pub fn float(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// Bytes with their number before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.number()? as usize;
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
}
