//! Hashes a number of headers or pairs by a backend, for tools that count instructions:
//! `hash BACKEND headers|pairs COUNT`.

use soloist::hash::Backend;
use std::hint::black_box;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, what, count] = &arguments[..] else {
        panic!("usage: hash BACKEND headers|pairs COUNT");
    };
    let count: u32 = count.parse().expect("COUNT is a number");
    let backends = Backend::available();
    let backend = backends.iter().find(|backend| backend.name() == name).expect("a known BACKEND");
    match what.as_str() {
        "headers" => {
            let midstate = backend.midstate(&[0x5a; 64]);
            let hit = backend.header_hashes(&midstate, &[1; 12], 1..=count, 0);
            assert_eq!(black_box(hit), None, "the odds of a hit are one in a million");
        }
        "pairs" => {
            black_box(backend.merkle_pairs(&vec![[2; 32]; 2 * count as usize]));
        }
        _ => panic!("neither headers nor pairs: {what}"),
    }
}
