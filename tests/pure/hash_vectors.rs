//! Every hash backend against published digests, real block headers, and another implementation.
//!
//! The same file runs natively and, from `tests/hash-alone`, as a program for 64-bit ARM under an
//! emulator. Each test forces every backend that the processor can run.

use sha2::{Digest, Sha256};
use soloist::hash::{self, Backend, HeaderHit, Midstate, PrefixState};

#[test]
fn the_backends_are_those_of_the_processor() {
    let names: Vec<_> = Backend::available().iter().map(|backend| backend.name()).collect();
    println!("backends: {names:?}; in use: {}", Backend::active().name());
    assert_eq!(names.last(), Some(&"soft"));
    assert_eq!(names.contains(&"neon"), cfg!(target_arch = "aarch64"));
    assert_eq!(names.contains(&"neon+1"), cfg!(target_arch = "aarch64"));
    assert_eq!(names.contains(&"sha2"), !cfg!(target_arch = "aarch64"));
    let active = Backend::active().name();
    // Of the two forms of `neon` the faster is chosen, so that either may be in use.
    assert_eq!(active.trim_end_matches("+1"), names[0]);
    #[cfg(target_arch = "aarch64")]
    assert_eq!(names.contains(&"armv8"), std::arch::is_aarch64_feature_detected!("sha2"));
    for backend in Backend::available() {
        assert_eq!(backend.self_test(), Ok(()));
    }
}

/// FIPS 180-4's examples (as NIST publishes them) and the first of NIST's CAVP short messages, all
/// for the single SHA-256.
#[test]
fn nist_vectors() {
    let million = vec![b'a'; 1_000_000];
    let vectors: [(&[u8], &str); 8] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
              hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        (b"\xd3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"),
        (b"\x11\xaf", "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98"),
        (b"\xb4\x19\x0e", "dff2e73091f6c05e528896c4c831b9448653dc2ff043528f6769437bc7b975c2"),
    ];
    for backend in Backend::available() {
        for (message, digest) in vectors {
            assert_eq!(hex(&sha256(backend, message)), digest, "{backend:?}");
        }
    }
}

/// Blocks 0, 100,000, 125,552 and 840,000 of the main chain: the last has rolled version bits.
const HEADERS: [(&str, u32, &str); 4] = [
    (
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
        2_083_236_893,
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    ),
    (
        "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a9252aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710",
        274_148_111,
        "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
    ),
    (
        "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695",
        2_504_433_986,
        "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    ),
    (
        "00e05f2aab948491071265ad552351d0ad625745668da54b0172010000000000000000004f89a5d73bd4d4887f25981fe81892ccafda10c27f52d6f3dd28183a7c411b03b7072366194203177d9863ea",
        3_932_395_645,
        "0000000000000000000320283a032748cef8227873ff4872689bf23f1cda83a5",
    ),
];

#[test]
fn real_headers() {
    for backend in Backend::available() {
        for (header, nonce, shown) in HEADERS {
            let header: [u8; 80] = unhex(header).try_into().unwrap();
            let mut hash = backend.sha256d(&header);
            let (first, tail) = (header.first_chunk().unwrap(), header[64..76].try_into().unwrap());
            let midstate = backend.midstate(first);

            // Wherever in a batch the nonce falls, it is found, alone, and with the same hash.
            for before in [0, 1, 2, 3, 4, 5, 6, 7, 100] {
                let range = nonce - before..=nonce + 100;
                let hit = backend.header_hashes(&midstate, tail, range, 0);
                assert_eq!(hit, Some(HeaderHit { nonce, hash }), "{backend:?}");
            }
            let up_to = |end| backend.header_hashes(&midstate, tail, nonce - 50..=end, 0);
            assert_eq!(up_to(nonce - 1), None, "{backend:?}: past the end");
            assert_eq!(up_to(nonce).map(|hit| hit.nonce), Some(nonce), "{backend:?}: at the end");

            hash.reverse();
            assert_eq!(hex(&hash), shown, "{backend:?}");
        }
    }
}

#[test]
fn block_100000_has_its_merkle_root() {
    let txids = [
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    ];
    let txids = txids.map(|shown| {
        let mut txid: [u8; 32] = unhex(shown).try_into().unwrap();
        txid.reverse();
        txid
    });
    for backend in Backend::available() {
        let root = merkle_root(backend, &txids);
        assert_eq!(root[..], unhex(HEADERS[1].0)[36..68], "{backend:?}");
    }
}

/// The root of transactions whose ids are the double hashes of 0, 1, 2... in 4 bytes, little-endian;
/// computed with Python's hashlib.
#[test]
fn roots_of_many_transactions() {
    let roots = [
        (13, "0fd59780c773c199d9ef321cb628b962c84927ecd28fb12df4effa1a5f8110ca"),
        (1000, "ce2123374ebf44b55a8c7fc5fed3d543aab5ef64bc22f747e555ed758a001203"),
        (4000, "5aea9e7dc928266e710b951ba67e980749668f8f9345e7fa95fffd4b0978baf2"),
    ];
    for backend in Backend::available() {
        let txids: Vec<_> = (0..4000u32).map(|i| backend.sha256d(&i.to_le_bytes())).collect();
        for (count, shown) in roots {
            let mut root = merkle_root(backend, &txids[..count]);
            root.reverse();
            assert_eq!(hex(&root), shown, "{backend:?}, {count}");
        }
    }
}

#[test]
fn random_messages_agree_with_sha2() {
    let mut random = Random(20_090_103);
    for backend in Backend::available() {
        for _ in 0..1500 {
            let message = random.bytes(300);
            let expected: [u8; 32] = Sha256::digest(Sha256::digest(&message)).into();
            assert_eq!(backend.sha256d(&message), expected, "{backend:?} {}", hex(&message));

            // The same in pieces cut anywhere.
            let (prefix, suffix) = message.split_at(random.below(message.len() + 1));
            let (first, second) = suffix.split_at(random.below(suffix.len() + 1));
            let state = backend.prefix(prefix);
            for _ in 0..2 {
                let resumed = backend.sha256d_after(&state, &[first, &[], second]);
                assert_eq!(resumed, expected, "{backend:?} {}+{}", prefix.len(), first.len());
            }
            assert_eq!(state.saved_bytes(), prefix.len() as u64 / 64 * 64);
        }
    }
}

#[test]
fn random_pairs_agree_with_sha2() {
    let mut random = Random(2_100);
    for backend in Backend::available() {
        for count in 0..70 {
            let hashes: Vec<[u8; 32]> = (0..count).map(|_| random.array()).collect();
            let expected: Vec<[u8; 32]> = hashes
                .chunks_exact(2)
                .map(|pair| Sha256::digest(Sha256::digest(pair.as_flattened())).into())
                .collect();
            assert_eq!(backend.merkle_pairs(&hashes), expected, "{backend:?}, {count} hashes");
            if let [first, branch @ ..] = &hashes[..] {
                let above = |node: [u8; 32], neighbour: &[u8; 32]| -> [u8; 32] {
                    Sha256::digest(Sha256::digest([node, *neighbour].as_flattened())).into()
                };
                let root = branch.iter().fold(*first, above);
                assert_eq!(backend.branch_root(first, branch), root, "{backend:?}, {count}");
            }
        }
    }
}

#[test]
fn random_headers_agree_with_sha2() {
    let mut random = Random(840_000);
    for backend in Backend::available() {
        for _ in 0..200 {
            let mut header: [u8; 80] = random.array();
            let midstate = backend.midstate(header.first_chunk().unwrap());
            assert_eq!(midstate, Midstate::of_header(&header), "{backend:?}");
            let tail: [u8; 12] = header[64..76].try_into().unwrap();
            // Ranges of any length, from anywhere up to the last nonce; targets from hard to easy.
            let start =
                (u32::MAX - random.below(40) as u32).saturating_sub(random.word() >> 31 << 20);
            let end = start.saturating_add(random.below(30) as u32);
            let top_word = u32::MAX >> random.below(7);
            let expected = (start..=end).find_map(|nonce| {
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                let hash: [u8; 32] = Sha256::digest(Sha256::digest(header)).into();
                let top = u32::from_le_bytes(*hash.last_chunk().unwrap());
                (top <= top_word).then_some(HeaderHit { nonce, hash })
            });
            let hit = backend.header_hashes(&midstate, &tail, start..=end, top_word);
            assert_eq!(hit, expected, "{backend:?} {start}..={end}, top word {top_word:08x}");
        }
        // An empty range has no hit, whatever the target.
        let midstate = backend.midstate(&[0; 64]);
        #[expect(clippy::reversed_empty_ranges)]
        let none = backend.header_hashes(&midstate, &[0; 12], 1..=0, u32::MAX);
        assert_eq!(none, None, "{backend:?}");
    }
}

#[test]
fn the_functions_without_a_backend_agree_with_the_reference() {
    let soft = Backend::reference();
    let message = b"any message that is longer than one block of sixty-four bytes: it has two";
    assert_eq!(hash::sha256d(message), soft.sha256d(message));
    assert_eq!(hash::soft::sha256d(message), soft.sha256d(message));
    assert_eq!(PrefixState::new(&message[..70]).sha256d(&[&message[70..]]), soft.sha256d(message));
    let hashes = [[1; 32], [2; 32], [3; 32], [4; 32]];
    assert_eq!(hash::merkle_pairs(&hashes), soft.merkle_pairs(&hashes));
    assert_eq!(hash::branch_root(&[1; 32], &[[2; 32]]), soft.branch_root(&[1; 32], &[[2; 32]]));
    let midstate = Midstate::new(&[7; 64]);
    let hit = hash::header_hashes(&midstate, &[9; 12], 0..=u32::MAX, 0x0fff_ffff);
    assert_eq!(hit, soft.header_hashes(&midstate, &[9; 12], 0..=u32::MAX, 0x0fff_ffff));
    assert!(hit.is_some());
}

/// The single SHA-256, padded here.
fn sha256(backend: &Backend, message: &[u8]) -> [u8; 32] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state = hash::soft::IV;
    backend.compress(&mut state, padded.as_chunks().0);
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

fn merkle_root(backend: &Backend, txids: &[[u8; 32]]) -> [u8; 32] {
    let mut level = txids.to_vec();
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.extend(level.last().copied());
        }
        level = backend.merkle_pairs(&level);
    }
    level[0]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> =
        hex.chars().map(|digit| digit.to_digit(16).expect("a hex digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.word() as usize % end
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.word() as u8)
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        (0..self.below(below)).map(|_| self.word() as u8).collect()
    }
}
