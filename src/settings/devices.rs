//! What the owner does with a miner as a device. Pure.

use crate::devices::pointing::{Command, PoolWish};

/// How a device is to be pointed here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointWish {
    /// By Stratum V2, with this box's key.
    pub v2: bool,
    /// The pool to fall back on; `None` leaves what the device has.
    pub fallback: Option<PoolWish>,
}

/// Something to be done with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceStep {
    /// It is told to do something that changes no setting.
    Tell(Command),
    /// It is pointed here. `seen` names what the owner has seen of the change.
    Point {
        /// How.
        wish: PointWish,
        /// [`DevicePlan::seen`] of the plan that was shown.
        seen: String,
    },
    /// It gets its settings of before back.
    PutBack,
}

/// What would be sent to a device, for the owner to see before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevicePlan {
    /// Settings that change: the name, the value of now, the value to be.
    pub rows: Vec<[String; 3]>,
    /// What could not be put back afterwards, in sentences.
    pub not_restored: Vec<String>,
    /// It starts anew afterwards.
    pub restarts: bool,
    /// Names this plan: with another one, nothing is sent.
    pub seen: String,
}

/// A fallback as it is typed: `host:port`, with or without `stratum+tcp://`, and a user.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn fallback(pool: &str, user: &str) -> Result<Option<PoolWish>, String> {
    let pool = pool.trim();
    if pool.is_empty() {
        return Ok(None);
    }
    let plain = pool.strip_prefix("stratum+tcp://").unwrap_or(pool);
    let wrong = || "Write the second pool as host:port, such as solo.example.org:3333.".to_owned();
    let (host, port) = plain.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || host.len() > 120 || port == 0 || !host.bytes().all(is_plain) {
        return Err(wrong());
    }
    let user = user.trim();
    if user.is_empty() || user.len() > 200 || !user.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("Write the user for the second pool, as that pool asks for it.".to_owned());
    }
    Ok(Some(PoolWish { host: host.to_owned(), port, user: user.to_owned(), password: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_pool_is_read_as_people_write_it() {
        let read = |pool: &str, user: &str| {
            let wish = fallback(pool, user)?;
            Ok::<_, String>(wish.map(|pool| (pool.host, pool.port, pool.user)))
        };
        let expected = Some(("solo.example.org".to_owned(), 3333, "bc1q.attic".to_owned()));
        assert_eq!(
            read("stratum+tcp://solo.example.org:3333", " bc1q.attic "),
            Ok(expected.clone())
        );
        assert_eq!(read(" solo.example.org:3333", "bc1q.attic"), Ok(expected));
        assert_eq!(read("", "bc1q.attic"), Ok(None));
        for pool in [
            "solo.example.org",
            "solo.example.org:0",
            "solo.example.org:99999",
            ":3333",
            "a b:3333",
            "https://x:1:3333",
        ] {
            assert!(read(pool, "u").is_err(), "{pool}");
        }
        assert!(read("solo.example.org:3333", "").is_err());
        assert!(read("solo.example.org:3333", "a b").is_err());
    }
}
