//! Any bytes in any pieces: the lines that come out are those that are in there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::stratum::frame::{Lines, MAX_LINE};

fuzz_target!(|input: (u16, &[u8])| {
    let (piece, bytes) = (usize::from(input.0) + 1, input.1);
    let mut lines = Lines::new();
    let mut found: Vec<Vec<u8>> = Vec::new();
    'stream: for mut chunk in bytes.chunks(piece) {
        loop {
            match lines.next(&mut chunk) {
                Ok(Some(line)) => found.push(line.to_vec()),
                Ok(None) => break,
                Err(_) => break 'stream,
            }
        }
        assert!(chunk.is_empty() && lines.memory() <= 2 * MAX_LINE);
    }
    let whole = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut whole = whole.filter(|line| !line.is_empty());
    for line in found {
        assert!(line.len() <= MAX_LINE);
        assert_eq!(whole.next(), Some(line.as_slice()));
    }
});
