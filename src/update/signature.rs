//! Whose feed it is: minisign's signature over the bytes as they came.

use minisign_verify::{Error, PublicKey, Signature};

use super::Fault;
use crate::devices;

/// Bytes of a signature's file.
pub const SIGNATURE_MAX: usize = 1_024;
/// What the trusted comment of a feed's signature says: it is by the same key as that of an update, and
/// none of the two may stand in the other's place.
const TRUSTED_COMMENT: &str = "feed.json";

/// Whether `feed` was signed with `signature` by the key whose public half is `key`, both as minisign writes
/// them. The signature is over the bytes or, as minisign does by default, over their hash (BLAKE2b).
///
/// # Errors
/// [`Fault::BadKey`], [`Fault::NoSignature`], [`Fault::OtherKey`], [`Fault::WrongSignature`] or
/// [`Fault::OtherFile`].
pub fn verify(key: &str, feed: &[u8], signature: &[u8]) -> Result<(), Fault> {
    let key = PublicKey::decode(key).map_err(|_| Fault::BadKey)?;
    let text = std::str::from_utf8(signature).map_err(|_| Fault::NoSignature)?;
    if text.len() > SIGNATURE_MAX {
        return Err(Fault::NoSignature);
    }
    let signature = Signature::decode(text).map_err(|_| Fault::NoSignature)?;
    key.verify(feed, &signature, true).map_err(|error| match error {
        Error::UnexpectedKeyId => Fault::OtherKey,
        _ => Fault::WrongSignature,
    })?;
    match signature.trusted_comment() {
        TRUSTED_COMMENT => Ok(()),
        other => Err(Fault::OtherFile(devices::text(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by minisign 0.11 with keys that nobody has any more.
    const FEED: &[u8] = b"A feed.\n";
    const KEY: &str = "untrusted comment: minisign public key 732E6E7281AE6469\n\
        RWRpZK6Bcm4uc7sLQww9EfP64OAmapT7EE2TQLNsof1iouVHCME4mOIl\n";
    const HASHED: &str = "untrusted comment: signature of a Soloist update feed\n\
        RURpZK6Bcm4uc6klb3Um5Vhza9pXRkocMw59l1+0sSn/msWWVxGame+r+6ivtKSy7cxkuaLlULbABq/s3WNTcCsYnylwcY7zGgc=\n\
        trusted comment: feed.json\n\
        VUya0gWziuZQ+/RiLDA/stkfOgNCI4yXqO+GsVAze+NJxC8sWM3Nu0Fyhd//+HreLyBJld4Lwo89qoL9Olj8Aw==\n";
    const LEGACY: &str = "untrusted comment: legacy\n\
        RWRpZK6Bcm4uc5NI2czFGrqEzTHki0uhpIketQCTJZqhBVmlos2J5IvQpmAXRx0LBGMJ3LQ8KbQz7uYDzCb+34YvGeiCnO2BrAA=\n\
        trusted comment: feed.json\n\
        zfNeGIiRFHuwUkmI52AQYQ/RArexJuhAESrbKsn3yfouxQkuUXcUUDf/wkrYq55iiQ+oXl82NlgX39m0eHbpAA==\n";
    const OF_AN_UPDATE: &str = "untrusted comment: signature from minisign secret key\n\
        RURpZK6Bcm4uc6klb3Um5Vhza9pXRkocMw59l1+0sSn/msWWVxGame+r+6ivtKSy7cxkuaLlULbABq/s3WNTcCsYnylwcY7zGgc=\n\
        trusted comment: soloist-0.3.0-arm64.update\n\
        dg0sBqTtm77L2Jt7hJ6vOaLVhYsU2G4zLxdjfx4bgs0yfR2WZCAjXF/pYsBEXbzo6B1lSxzBhqT6lvrX3qnoDA==\n";
    const BY_ANOTHER: &str = "untrusted comment: signature from minisign secret key\n\
        RUTHJzXYLouxY+c0UCOeqHgUGhtT9La639JZRR53BR7o3n6v0ALSrKqp7U56FJDFUBwLeK2OgtSIi1ANPW++tfZZftGr2uERtAc=\n\
        trusted comment: feed.json\n\
        GqmOLvOisNCMastmoK6zWZiF36XvvTDuwGgrD5BUEFHPT/V0iX5saiahEZBJ+5QilysqYTfucuYB/7h6VA6iDg==\n";

    fn tried(feed: &[u8], signature: &str) -> Result<(), Fault> {
        verify(KEY, feed, signature.as_bytes())
    }

    #[test]
    fn both_forms_of_minisign_are_taken() {
        assert_eq!(tried(FEED, HASHED), Ok(()));
        assert_eq!(tried(FEED, LEGACY), Ok(()));
        // As an editor of Windows leaves it.
        assert_eq!(tried(FEED, &HASHED.replace('\n', "\r\n")), Ok(()));
    }

    #[test]
    fn whatever_else_is_refused_by_its_cause() {
        for good in [HASHED, LEGACY] {
            assert_eq!(tried(b"A fees.\n", good), Err(Fault::WrongSignature));
            assert_eq!(tried(b"", good), Err(Fault::WrongSignature));
            // The comment is signed as well.
            let renamed = good.replace("feed.json", "feed.jsom");
            assert_eq!(tried(FEED, &renamed), Err(Fault::WrongSignature));
        }
        assert_eq!(tried(FEED, BY_ANOTHER), Err(Fault::OtherKey));
        let update = "soloist-0.3.0-arm64.update".to_owned();
        assert_eq!(tried(FEED, OF_AN_UPDATE), Err(Fault::OtherFile(update)));
        let swapped = OF_AN_UPDATE.replace("soloist-0.3.0-arm64.update", "feed.json");
        assert_eq!(tried(FEED, &swapped), Err(Fault::WrongSignature));
        for nothing in ["", "\n\n\n\n", "<html>", "untrusted comment: x\n", &HASHED[..150]] {
            assert_eq!(tried(FEED, nothing), Err(Fault::NoSignature), "{nothing:?}");
        }
        assert_eq!(verify(KEY, FEED, &[0xff; 200]), Err(Fault::NoSignature));
        let long = HASHED.replace("signature of", &"x".repeat(SIGNATURE_MAX));
        assert_eq!(tried(FEED, &long), Err(Fault::NoSignature));
        for bad in ["", "untrusted comment: x\n", "a\nb\n", &KEY.replace("RWR", "RWx")[..80]] {
            assert_eq!(verify(bad, FEED, HASHED.as_bytes()), Err(Fault::BadKey), "{bad:?}");
        }
    }

    /// Every byte of it damaged, and every end cut off: none of them is taken, and none panics. The first
    /// line is a comment that nobody signs.
    #[test]
    fn no_damaged_signature_is_taken() {
        for good in [HASHED, LEGACY] {
            let signed = good.find('\n').unwrap() + 1;
            // Without its last line feed it is whole.
            for end in 0..good.len() - 1 {
                assert!(tried(FEED, &good[..end]).is_err(), "{end}");
            }
            for at in signed..good.len() - 1 {
                for wrong in [0, b'A', b'/', b'=', b'\n', 0xc3] {
                    let mut damaged = good.as_bytes().to_vec();
                    if damaged[at] == wrong {
                        continue;
                    }
                    damaged[at] = wrong;
                    let result = verify(KEY, FEED, &damaged);
                    assert!(result.is_err(), "{at} {wrong}: {}", String::from_utf8_lossy(&damaged));
                }
            }
        }
    }
}
