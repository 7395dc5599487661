//! Access control: the PIN, limits on tries, and sessions. Pure: randomness is handed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};

use crate::door::Household;

/// A session ends when it was not used for this long.
pub const SESSION: Duration = Duration::from_secs(15 * 60);
/// Tries of the PIN a minute: of one household, and of all together.
const TRIES: usize = 5;
const TRIES_OF_ALL: usize = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// Open sessions; the longest unused goes.
pub const SESSIONS_MAX: usize = 16;

/// Argon2id at 7 MiB and 5 passes, one lane (OWASP's least-memory setting): a Raspberry Pi 3 takes
/// about half a second, and its memory stays small.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;
const HASH_BYTES: usize = 32;

/// How a stored PIN begins.
pub const HASH_PREFIX: &str = "argon2id:";

/// The shortest PIN.
pub const PIN_MIN: usize = 4;
/// The longest PIN.
pub const PIN_MAX: usize = 128;

/// A secret of a session: the cookie, or the token in its forms.
pub type Token = [u8; 16];

/// Tries and sessions.
#[derive(Debug, Default)]
pub struct Access {
    tries: Vec<(Instant, Household)>,
    /// When a refusal was last called news.
    locked: Option<Instant>,
    sessions: HashMap<Token, Session>,
}

/// Whether the PIN may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// Yes, and this address has not tried it in the last minute.
    First,
    /// Yes, once more.
    Again,
    /// Not before so long; it is news once a minute.
    Locked {
        /// The time to wait.
        wait: Duration,
        /// Nobody was refused in the minute before.
        is_news: bool,
    },
}

#[derive(Debug)]
struct Session {
    form: Token,
    used: Instant,
}

impl Access {
    /// No session, no try.
    pub fn new() -> Access {
        Access::default()
    }

    /// Whether this address may try the PIN now; counts as a try. To be asked before the PIN is
    /// hashed, which is what costs time.
    pub fn may_try(&mut self, now: Instant, address: IpAddr) -> Try {
        let age = |at: Instant| now.saturating_duration_since(at);
        self.tries.retain(|(at, _)| age(*at) < MINUTE);
        let household = Household::of(address);
        let of_household = || self.tries.iter().filter(|(_, other)| *other == household);
        let count = of_household().count();
        // Oldest first: when it is a minute old, there is room for one more.
        let oldest = match count {
            TRIES.. => of_household().next(),
            _ if self.tries.len() >= TRIES_OF_ALL => self.tries.first(),
            _ => None,
        };
        if let Some((at, _)) = oldest {
            let is_news = self.locked.is_none_or(|locked| age(locked) >= MINUTE);
            if is_news {
                self.locked = Some(now);
            }
            return Try::Locked { wait: MINUTE - age(*at), is_news };
        }
        self.tries.push((now, household));
        if count == 0 { Try::First } else { Try::Again }
    }

    /// Opens a session with two fresh random tokens.
    pub fn open(&mut self, now: Instant, cookie: Token, form: Token) {
        self.sessions.retain(|_, session| alive(session, now));
        if self.sessions.len() >= SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, s)| s.used).map(|(token, _)| *token);
            if let Some(oldest) = oldest {
                self.sessions.remove(&oldest);
            }
        }
        self.sessions.insert(cookie, Session { form, used: now });
    }

    /// The form token of a living session, which lives on from now.
    pub fn session(&mut self, now: Instant, cookie: &Token) -> Option<Token> {
        let session = self.sessions.get_mut(cookie).filter(|session| alive(session, now))?;
        session.used = now;
        Some(session.form)
    }

    /// Whether a session lives; it does not live longer by that.
    pub fn is_open(&self, now: Instant, cookie: &Token) -> bool {
        self.sessions.get(cookie).is_some_and(|session| alive(session, now))
    }

    /// Ends a session.
    pub fn close(&mut self, cookie: &Token) {
        self.sessions.remove(cookie);
    }

    /// Ends all of them: the PIN has changed.
    pub fn close_all(&mut self) {
        self.sessions.clear();
    }
}

/// A token as hex.
pub fn token_hex(token: &Token) -> String {
    faster_hex::hex_string(token)
}

/// A token from hex.
pub fn token_from_hex(hex: &str) -> Option<Token> {
    let mut token = Token::default();
    (hex.len() == 32 && faster_hex::hex_decode(hex.as_bytes(), &mut token).is_ok()).then_some(token)
}

/// Compares without telling by the time where two tokens differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Why a PIN cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPin {
    /// Too short to withstand five tries a minute.
    #[error("A PIN has at least {PIN_MIN} characters.")]
    Short,
    /// Longer than anybody types.
    #[error("A PIN has at most {PIN_MAX} characters.")]
    Long,
    /// One character only, over and over, or one of the first that everybody tries.
    #[error("This PIN is among the first that everybody tries.")]
    Common,
}

/// Checks a PIN that is to be set.
///
/// # Errors
/// See [`BadPin`].
pub fn check_pin(pin: &str) -> Result<(), BadPin> {
    let mut chars = pin.chars();
    let first = chars.next();
    match pin.chars().count() {
        n if n < PIN_MIN => Err(BadPin::Short),
        n if n > PIN_MAX => Err(BadPin::Long),
        _ if chars.all(|c| Some(c) == first) => Err(BadPin::Common),
        _ if ["1234", "12345", "123456", "4321", "0123", "2580", "1212"].contains(&pin) => {
            Err(BadPin::Common)
        }
        _ => Ok(()),
    }
}

/// What is stored of a PIN: `argon2id:7168:5:<salt>:<hash>`, hex. Takes tens to hundreds of
/// milliseconds: not for the daemon's loop.
pub fn hash_pin(pin: &str, salt: &Token) -> String {
    let hash = argon2(pin, salt, MEMORY_KIB, PASSES);
    let hash = faster_hex::hex_string(&hash.expect("the built-in parameters are valid"));
    format!("argon2id:{MEMORY_KIB}:{PASSES}:{}:{hash}", token_hex(salt))
}

/// Whether a PIN fits what is stored. False for a damaged record. As slow as [`hash_pin`].
pub fn pin_fits(pin: &str, stored: &str) -> bool {
    let parts: Vec<&str> = stored.trim().split(':').collect();
    let ["argon2id", memory, passes, salt, hash] = parts.as_slice() else {
        return false;
    };
    let (Ok(memory), Ok(passes)) = (memory.parse::<u32>(), passes.parse::<u32>()) else {
        return false;
    };
    // A damaged record must not take the board's memory or an hour.
    if memory > 64 * 1024 || passes > 32 || pin.chars().count() > PIN_MAX {
        return false;
    }
    let Some(salt) = token_from_hex(salt) else {
        return false;
    };
    argon2(pin, &salt, memory, passes)
        .is_some_and(|ours| same(faster_hex::hex_string(&ours).as_bytes(), hash.as_bytes()))
}

fn argon2(pin: &str, salt: &Token, memory: u32, passes: u32) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(memory, passes, 1, Some(HASH_BYTES)).ok()?;
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(pin.as_bytes(), salt, &mut hash)
        .ok()?;
    Some(hash)
}

fn alive(session: &Session, now: Instant) -> bool {
    now.saturating_duration_since(session.used) < SESSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    #[test]
    fn five_tries_a_minute_and_twenty_of_all() {
        let start = Instant::now();
        let mut access = Access::new();
        let granted = |access: &mut Access, now, last| {
            let locked =
                |_: &i32| !matches!(access.may_try(now, address(last)), Try::Locked { .. });
            (0..10).filter(locked).count()
        };
        assert_eq!(granted(&mut access, start, 1), 5);
        assert_eq!(granted(&mut access, start, 2), 5);
        assert_eq!((3..20).map(|last| granted(&mut access, start, last)).sum::<usize>(), 10);
        assert_eq!(granted(&mut access, start + Duration::from_secs(59), 1), 0);
        assert_eq!(granted(&mut access, start + Duration::from_secs(61), 1), 5);
    }

    /// A device makes as many IPv6 addresses as it likes: they must not use up the tries of all.
    #[test]
    fn the_addresses_of_an_ipv6_network_have_five_tries_together() {
        let start = Instant::now();
        let mut access = Access::new();
        let six = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let mut may = |from| !matches!(access.may_try(start, from), Try::Locked { .. });
        assert_eq!((0..100).filter(|n| may(six(*n))).count(), 5);
        assert!(may(address(1)));
    }

    #[test]
    fn a_lock_tells_how_long_it_lasts_and_is_news_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut access = Access::new();
        assert_eq!(access.may_try(at(0), address(1)), Try::First);
        for second in 1..5 {
            assert_eq!(access.may_try(at(second), address(1)), Try::Again);
        }
        let locked = |seconds, is_news| Try::Locked { wait: Duration::from_secs(seconds), is_news };
        assert_eq!(access.may_try(at(10), address(1)), locked(50, true));
        assert_eq!(access.may_try(at(59), address(1)), locked(1, false));
        assert_eq!(access.may_try(at(60), address(1)), Try::Again);
        assert_eq!(access.may_try(at(60), address(1)), locked(1, false));
        assert_eq!(access.may_try(at(60), address(2)), Try::First);
    }

    #[test]
    fn a_session_lives_while_it_is_used() {
        let start = Instant::now();
        let mut access = Access::new();
        let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
        access.open(start, [1; 16], [2; 16]);
        assert_eq!(access.session(after(14), &[1; 16]), Some([2; 16]));
        assert_eq!(access.session(after(28), &[1; 16]), Some([2; 16]));
        assert_eq!(access.session(after(44), &[1; 16]), None);
        assert_eq!(access.session(after(1), &[9; 16]), None);
        access.open(after(50), [3; 16], [4; 16]);
        access.close_all();
        assert_eq!(access.session(after(50), &[3; 16]), None);
        for i in 0..100 {
            access.open(after(60), [i; 16], [0; 16]);
        }
        assert!(access.sessions.len() <= SESSIONS_MAX);
    }

    #[test]
    fn a_pin_fits_only_itself() {
        let stored = hash_pin("correct horse", &[7; 16]);
        assert!(!stored.contains("correct"));
        assert!(pin_fits("correct horse", &stored));
        assert!(!pin_fits("correct hors", &stored));
        assert_ne!(stored, hash_pin("correct horse", &[8; 16]));
        for damaged in
            ["", "x", "argon2id:7168:5::", "argon2id:4000000000:5:00:00", "argon2id:8:9999999:0:0"]
        {
            assert!(!pin_fits("correct horse", damaged), "{damaged}");
        }
    }

    #[test]
    fn a_pin_that_everybody_tries_is_refused() {
        assert_eq!(check_pin("123"), Err(BadPin::Short));
        assert_eq!(check_pin("1234"), Err(BadPin::Common));
        assert_eq!(check_pin("0000000"), Err(BadPin::Common));
        assert_eq!(check_pin(&"ab".repeat(100)), Err(BadPin::Long));
        assert_eq!(check_pin("7391"), Ok(()));
        assert_eq!(check_pin("µµäö"), Ok(()));
    }

    #[test]
    fn tokens_survive_hex() {
        let token = [0xab; 16];
        assert_eq!(token_from_hex(&token_hex(&token)), Some(token));
        assert_eq!(token_from_hex("zz"), None);
        assert_eq!(token_from_hex(&"é".repeat(16)), None);
        assert!(same(b"ab", b"ab") && !same(b"ab", b"ac") && !same(b"ab", b"abc"));
    }
}
