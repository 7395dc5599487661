use std::time::Instant;

use super::*;
use crate::stratum::session::SessionKey;

const BOOT: &str = "01234567-89ab-cdef-0123-456789abcdef";
const TERMS: Terms = [7; 8];

fn now() -> Moment {
    Moment { mono: Instant::now(), uptime: Duration::from_secs(5000) }
}

fn connection(now: Moment, n: u8) -> HandedConnection {
    HandedConnection {
        session: HandedSession {
            extranonce1: Extranonce1([n, 2, 3, 4]),
            extranonce2_size: if n.is_multiple_of(2) { 8 } else { 4 },
            user_agent: "bitaxe/BM1370/v2.13.1".into(),
            worker: format!("anna.γ{n}"),
            connected_at: now.mono - Duration::from_secs(100),
            level: [Start::Fixed(5.0), Start::Known(1000.0), Start::Guess(0.0015)]
                [usize::from(n) % 3],
            proven: (n > 1).then_some(512.0),
            saved: [
                None,
                Some(Saved::Fixed(7.0)),
                Some(Saved::Level { difficulty: 3.0, wish: None }),
                Some(Saved::Level { difficulty: 3.0, wish: Some(9.0) }),
            ][usize::from(n) % 4],
            asked: [Ok(None), Ok(Some(512.0)), Err(Unclear)][usize::from(n) % 3],
            wish: n.is_multiple_of(2).then_some(64.0),
        },
        proved: n.is_multiple_of(2),
        begun: vec![b'{'; n.into()],
        unsent: vec![b'}'; usize::from(n) * 100],
        clogged: n > 3,
    }
}

/// A file with five connections, of which one has ended and one was written twice; where each of its
/// records ends.
fn file(now: Moment) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = header(BOOT, TERMS);
    let mut ends = vec![bytes.len()];
    for n in 0..5 {
        write(now, Ticket(n.into()), &connection(now, n), &mut bytes);
        ends.push(bytes.len());
    }
    write_gone(Ticket(2), &mut bytes);
    ends.push(bytes.len());
    write(now, Ticket(1), &connection(now, 6), &mut bytes);
    ends.push(bytes.len());
    write_end(Duration::from_millis(4_999_500), &mut bytes);
    ends.push(bytes.len());
    (bytes, ends)
}

#[test]
fn what_is_written_is_read_and_the_newest_word_counts() {
    let now = now();
    let (bytes, _) = file(now);
    let handed = read(now, BOOT, TERMS, &bytes).unwrap();
    assert_eq!(handed.ended, Some(Duration::from_millis(4_999_500)));
    let expected = [(0, 0), (1, 6), (3, 3), (4, 4)];
    let expected = expected.map(|(ticket, n)| (Ticket(ticket), connection(now, n)));
    assert_eq!(handed.connections, BTreeMap::from(expected));
    // A later process has another clock for the same moments.
    let later = Moment {
        mono: now.mono + Duration::from_secs(7),
        uptime: now.uptime + Duration::from_secs(7),
    };
    assert_eq!(read(later, BOOT, TERMS, &bytes).unwrap(), handed);
}

#[test]
fn a_file_that_a_crash_has_cut_counts_as_far_as_it_is_whole() {
    let now = now();
    let (bytes, ends) = file(now);
    for length in 0..bytes.len() {
        let cut = read(now, BOOT, TERMS, &bytes[..length]);
        if length < ends[0] {
            assert!(cut.is_err(), "{length}");
            continue;
        }
        let whole = ends.iter().rfind(|end| **end <= length).unwrap();
        let expected = read(now, BOOT, TERMS, &bytes[..*whole]).unwrap();
        assert_eq!(cut, Ok(expected), "{length}");
        assert_eq!(cut.unwrap().ended, None, "{length}");
    }
}

#[test]
fn one_wrong_bit_makes_up_nothing() {
    let now = now();
    let (bytes, ends) = file(now);
    let prefixes: Vec<_> =
        ends.iter().map(|end| read(now, BOOT, TERMS, &bytes[..*end]).unwrap()).collect();
    let mut damaged = 0;
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match read(now, BOOT, TERMS, &bytes) {
            // A length that reaches beyond the file looks as if the file were cut there.
            Ok(handed) => assert!(prefixes[..ends.len() - 1].contains(&handed), "bit {bit}"),
            Err(_) => damaged += 1,
        }
    }
    println!("{damaged} of {} flipped bits are noticed as such", bytes.len() * 8);
    assert!(damaged * 10 > bytes.len() * 8 * 9);
}

#[test]
fn another_version_boot_or_password_is_not_believed() {
    let now = now();
    let (bytes, _) = file(now);
    let other_boot = "11234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(read(now, other_boot, TERMS, &bytes), Err(Unusable::OtherBoot));
    assert_eq!(read(now, BOOT, [8; 8], &bytes), Err(Unusable::OtherTerms));
    for version in ["0", "2"] {
        let text = format!("soloist connections {version}\n");
        let other = [text.as_bytes(), &bytes[MAGIC.len()..]].concat();
        assert_eq!(read(now, BOOT, TERMS, &other), Err(Unusable::OtherVersion));
    }
    assert_eq!(read(now, BOOT, TERMS, b""), Err(Unusable::OtherVersion));
    // A record that this version does not know, and one with more in it than is known.
    for (kind, length) in [(9, 8), (GONE, 9), (END, 7)] {
        let mut bytes = bytes.clone();
        framed::write(&mut bytes, kind, |b| b.extend_from_slice(&[0; 16][..length]));
        assert_eq!(read(now, BOOT, TERMS, &bytes), Err(Unusable::Damaged));
    }
    // A difficulty that would stop a miner.
    for level in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut bytes = header(BOOT, TERMS);
        let mut connection = connection(now, 1);
        connection.session.level = Start::Known(level);
        write(now, Ticket(1), &connection, &mut bytes);
        assert_eq!(read(now, BOOT, TERMS, &bytes), Err(Unusable::Damaged));
    }
}

#[test]
fn terms_change_with_the_password_and_the_key() {
    let rules = |key: u8, password: Option<&str>| Rules {
        session_key: SessionKey([key; 32]),
        password: password.map(str::to_owned),
        overrides: Vec::new(),
        payee_chains: Vec::new(),
    };
    let all = [rules(1, None), rules(2, None), rules(1, Some("x")), rules(1, Some("y"))];
    let all: std::collections::BTreeSet<Terms> = all.iter().map(terms).collect();
    assert_eq!(all.len(), 4);
}
