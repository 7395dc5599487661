//! The one file of a backup, and of the nightly snapshots.
//!
//! Pure. Eight bytes `SOLOBAK1`, then the frames of [`super::record`], then the SHA-256 of
//! everything before it. A backup is read completely or not at all.

use sha2::{Digest, Sha256};

use super::record::{Record, decode_all, encode_all};

/// The first bytes of the file; the digit is its version.
pub const BACKUP_HEADER: &[u8; 8] = b"SOLOBAK1";
/// What a backup weighs at most, in bytes.
pub const MAX_BACKUP: usize = 1_000_000;
const DIGEST: usize = 32;

/// Why a file is not a backup that can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Another kind of file, or of a newer Soloist.
    #[error("this is not a Soloist backup")]
    NotABackup,
    /// Cut or changed: usually a download that broke off, or a dying stick.
    #[error("the backup is damaged: its checksum is wrong")]
    Damaged,
    /// More than [`MAX_BACKUP`] bytes.
    #[error("the backup is too large")]
    TooLarge,
}

/// Builds the file. `records` are [`super::totals::Ledger::records`] and any attachments.
pub fn write(records: &[Record]) -> Vec<u8> {
    let mut file = BACKUP_HEADER.to_vec();
    encode_all(records, 1, &mut file);
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    file
}

/// Reads the file.
pub fn read(file: &[u8]) -> Result<Vec<Record>, BackupError> {
    if !file.starts_with(BACKUP_HEADER) {
        return Err(BackupError::NotABackup);
    }
    if file.len() > MAX_BACKUP {
        return Err(BackupError::TooLarge);
    }
    let body = file.len().checked_sub(DIGEST).filter(|&end| end >= BACKUP_HEADER.len());
    let (body, digest) = file.split_at(body.ok_or(BackupError::Damaged)?);
    if Sha256::digest(body).as_slice() != digest {
        return Err(BackupError::Damaged);
    }
    decode_all(&body[BACKUP_HEADER.len()..]).ok_or(BackupError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::any_record;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_backup_comes_back_whole_or_not_at_all(
            records in vec(any_record(), 0..20), at: prop::sample::Index, bit in 0..8_u32
        ) {
            let mut file = write(&records);
            prop_assert_eq!(read(&file), Ok(records));
            let cut = at.index(file.len());
            prop_assert!(read(&file[..cut]).is_err());
            file[cut] ^= 1 << bit;
            prop_assert!(read(&file).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = read(&[BACKUP_HEADER.as_slice(), &bytes].concat());
        }
    }
}
