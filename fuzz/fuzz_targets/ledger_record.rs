//! Any payloads with right checksums: read, replayed into a ledger, and written again.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use soloist::clock::Now;
use soloist::ledger::record::{Record, decode, encode, scan_frames};
use soloist::ledger::totals::Ledger;

fuzz_target!(|data: &[u8]| {
    // Pieces of kind, length and payload.
    let mut records = Vec::new();
    let mut rest = data;
    while let [kind, length, tail @ ..] = rest {
        let (payload, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let payload = payload.to_vec();
        let mut frame = Vec::new();
        encode(&Record::Unknown { kind: *kind % 16, version: 1, payload }, 1, &mut frame);
        let (_, record, length) = decode(&frame).expect("the checksum is right");
        assert_eq!(length, frame.len());
        let mut again = Vec::new();
        encode(&record, 1, &mut again);
        assert_eq!(decode(&again).expect("just written").1, record);
        records.push(record);
    }
    let now = Now { mono: Instant::now(), unix: 1_790_000_000 };
    let written = Ledger::replay(now, &records).records(100_000);
    let mut bytes = Vec::new();
    written.iter().for_each(|record| encode(record, 1, &mut bytes));
    let scan = scan_frames(&bytes);
    assert_eq!((scan.torn_tail, scan.damaged_bytes), (0, 0));
    assert_eq!(scan.records, written);
});
