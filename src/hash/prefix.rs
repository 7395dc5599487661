//! A message whose beginning is hashed once and whose end is hashed many times.

use super::{Backend, State, second_hash, soft};

/// SHA-256 in the middle of a message: a prefix of any length, absorbed once.
///
/// A coinbase transaction is the same for every share of a job up to its extranonces. With the
/// prefix absorbed, a share costs only the compressions of what follows.
#[derive(Clone, Debug)]
pub struct PrefixState {
    state: State,
    /// What is left of the prefix behind its last whole block: the first `length % 64` bytes.
    rest: [u8; 64],
    /// Bytes absorbed so far.
    length: u64,
}

impl PrefixState {
    pub(super) const EMPTY: PrefixState = PrefixState { state: soft::IV, rest: [0; 64], length: 0 };

    /// Absorbs `prefix`.
    pub fn new(prefix: &[u8]) -> PrefixState {
        Backend::active().prefix(prefix)
    }

    /// sha256d of the prefix followed by all of `suffix`, in the order in which the digest is
    /// written. The state is left as it was.
    pub fn sha256d(&self, suffix: &[&[u8]]) -> [u8; 32] {
        Backend::active().sha256d_after(self, suffix)
    }

    /// The bytes of the prefix that whole blocks hold: the compressions that are saved each time
    /// are a 64th of it.
    pub fn saved_bytes(&self) -> u64 {
        self.length - self.length % 64
    }

    pub(super) fn absorb(&mut self, compress: impl Fn(&mut State, &[[u8; 64]]), bytes: &[u8]) {
        let (filled, mut bytes) = (self.filled(), bytes);
        self.length += bytes.len() as u64;
        if filled > 0 {
            let (head, others) = bytes.split_at(bytes.len().min(64 - filled));
            self.rest[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < 64 {
                return;
            }
            compress(&mut self.state, &[self.rest]);
            bytes = others;
        }
        let (blocks, rest) = bytes.as_chunks();
        if !blocks.is_empty() {
            compress(&mut self.state, blocks);
        }
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    pub(super) fn finish(
        &self,
        compress: impl Fn(&mut State, &[[u8; 64]]),
        suffix: &[&[u8]],
    ) -> [u8; 32] {
        let mut whole = self.clone();
        for part in suffix {
            whole.absorb(&compress, part);
        }
        let filled = whole.filled();
        let mut end = [[0; 64]; 2];
        end[0][..filled].copy_from_slice(&whole.rest[..filled]);
        end[0][filled] = 0x80;
        // The length takes the last 8 bytes of a block; if they are taken, one more block follows.
        let blocks = if filled < 56 { 1 } else { 2 };
        end[blocks - 1][56..].copy_from_slice(&(whole.length * 8).to_be_bytes());
        compress(&mut whole.state, &end[..blocks]);
        second_hash(compress, &whole.state)
    }

    fn filled(&self) -> usize {
        (self.length % 64) as usize
    }
}
