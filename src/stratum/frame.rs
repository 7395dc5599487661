//! Splits the byte stream of a socket into lines, at each LF.
//!
//! ```
//! use soloist::stratum::frame::Lines;
//!
//! let mut lines = Lines::new();
//! let mut chunk: &[u8] = b"{\"id\":1}\r\n\n{\"id\":2";
//! assert_eq!(lines.next(&mut chunk), Ok(Some(&b"{\"id\":1}"[..])));
//! assert_eq!(lines.next(&mut chunk), Ok(None)); // the second line is not whole yet
//! let mut chunk: &[u8] = b"}\n";
//! assert_eq!(lines.next(&mut chunk), Ok(Some(&b"{\"id\":2}"[..])));
//! ```
//!
//! A line that is complete in the chunk is returned as a slice of it. Only the beginning of an
//! incomplete line is copied, so an idle connection needs no memory.

use std::borrow::Cow;

/// The longest line taken, in bytes before its LF.
///
/// The longest line of a known firmware is a `mining.submit` of cgminer, whose buffer has 1024
/// bytes; the configure lines of rental markets and LuxOS's long user agents stay below that too.
/// Eight times as much leaves room for firmwares nobody has met yet, and 1024 hostile connections
/// can hold no more than 8 MiB together.
pub const MAX_LINE: usize = 8 * 1024;

/// The room that a connection keeps between lines once it has needed some: an ordinary line that
/// the network cuts is far shorter.
const KEPT_ROOM: usize = 512;

/// A line is longer than [`MAX_LINE`]. Usual cause: something that is no miner (a browser sending
/// a file, a port scanner). The stream cannot be read further; close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {MAX_LINE} bytes")]
pub struct LineTooLong;

/// How one connection's messages are told apart.
#[derive(Debug)]
pub enum Framing {
    /// Stratum V1.
    Lines(Lines),
    /// Stratum V2: whole frames come, because they were decrypted one by one.
    Frames,
}

impl Framing {
    /// Lines, of which none has come yet.
    pub fn lines() -> Framing {
        Framing::Lines(Lines::new())
    }

    /// The beginning of a line whose end has not come yet; nothing of frames.
    pub fn begun(&self) -> &[u8] {
        match self {
            Framing::Lines(lines) => lines.begun(),
            Framing::Frames => &[],
        }
    }
}

impl Default for Framing {
    fn default() -> Framing {
        Framing::lines()
    }
}

/// Splits one connection's bytes into lines, however the network cuts them.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet, or the line handed out last.
    partial: Vec<u8>,
    /// `partial` was handed out as a line and is to be forgotten.
    handed_out: bool,
    /// A line was too long. Nothing after it can be trusted.
    broken: bool,
}

impl Lines {
    /// A splitter at the beginning of a stream. Allocates nothing.
    pub fn new() -> Lines {
        Lines::default()
    }

    /// The next whole line, without its line end (LF or CRLF) and without white space around it.
    /// Takes from `chunk` what it has used; lines of nothing but white space are skipped. `None`
    /// means that the chunk is used up.
    ///
    /// The bytes need not be UTF-8: see [`text`].
    ///
    /// # Errors
    /// [`LineTooLong`], at once when the limit is passed and from then on at every call.
    pub fn next<'line, 'chunk: 'line>(
        &'line mut self,
        chunk: &mut &'chunk [u8],
    ) -> Result<Option<&'line [u8]>, LineTooLong> {
        self.forget_handed_out();
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let (head, rest) = (&chunk[..end], &chunk[end + 1..]);
            self.check_room(head)?;
            *chunk = rest;
            if self.partial.is_empty() {
                let line = head.trim_ascii();
                if !line.is_empty() {
                    return Ok(Some(line));
                }
            } else {
                self.partial.extend_from_slice(head);
                self.handed_out = true;
                if !self.partial.trim_ascii().is_empty() {
                    return Ok(Some(self.partial.trim_ascii()));
                }
                self.forget_handed_out();
            }
        }
        self.check_room(chunk)?;
        self.partial.extend_from_slice(chunk);
        *chunk = &[];
        Ok(None)
    }

    /// A splitter that has taken the beginning of a line already.
    pub fn within(begun: Vec<u8>) -> Lines {
        Lines { partial: begun, ..Lines::default() }
    }

    /// The beginning of a line whose end has not come yet.
    pub fn begun(&self) -> &[u8] {
        if self.handed_out { &[] } else { &self.partial }
    }

    /// Bytes of memory that this connection's splitter holds now.
    pub fn memory(&self) -> usize {
        self.partial.capacity()
    }

    fn check_room(&mut self, more: &[u8]) -> Result<(), LineTooLong> {
        self.broken |= self.partial.len() + more.len() > MAX_LINE;
        if self.broken {
            self.partial = Vec::new();
            return Err(LineTooLong);
        }
        Ok(())
    }

    fn forget_handed_out(&mut self) {
        if self.handed_out {
            self.handed_out = false;
            self.partial.clear();
            self.partial.shrink_to(KEPT_ROOM);
        }
    }
}

/// A line as text. Bytes that are not UTF-8 (a Latin-1 letter in a worker's name) are shown as
/// U+FFFD; a line that is UTF-8, as all but such are, is not copied.
pub fn text(line: &[u8]) -> Cow<'_, str> {
    // The check of the standard library reads ASCII by the word; the lossy one reads each letter.
    match std::str::from_utf8(line) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All lines of a stream that arrives in these chunks, and whether it broke.
    fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
        let mut lines = Lines::new();
        let mut all = Vec::new();
        for mut chunk in chunks {
            loop {
                match lines.next(&mut chunk) {
                    Ok(Some(line)) => all.push(line.to_vec()),
                    Ok(None) => break,
                    Err(LineTooLong) => return (all, true),
                }
            }
            assert!(chunk.is_empty());
            assert!(lines.memory() <= 2 * MAX_LINE);
        }
        (all, false)
    }

    #[test]
    fn cr_and_empty_lines_and_odd_bytes_are_tolerated() {
        let (lines, broken) = split([&b"\r\n\n a\r\n \t\nb\xff\n\r\nc\r\r\nrest"[..]]);
        assert_eq!(lines, [&b"a"[..], b"b\xff", b"c"]);
        assert!(!broken);
        assert_eq!(text(b"b\xff"), "b\u{fffd}");
        assert!(matches!(text("NerdOCTAXE-\u{3b3}".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn a_line_in_one_chunk_is_not_copied() {
        let bytes = b"one\ntwo\n".to_vec();
        let mut lines = Lines::new();
        let mut chunk = &bytes[..];
        assert_eq!(lines.next(&mut chunk).unwrap().unwrap().as_ptr(), bytes.as_ptr());
        assert_eq!(lines.next(&mut chunk).unwrap().unwrap().as_ptr(), bytes[4..].as_ptr());
        assert_eq!(lines.next(&mut chunk), Ok(None));
        assert_eq!(lines.memory(), 0);
    }

    #[test]
    fn the_limit_counts_up_to_the_line_end() {
        let longest = [&[b'x'; MAX_LINE][..], b"\n"].concat();
        assert_eq!(split([&longest[..]]).0[0].len(), MAX_LINE);
        assert_eq!(split(longest.chunks(7)).0[0].len(), MAX_LINE);
        let longer = [b"ok\n", &[b'x'; MAX_LINE + 1][..], b"\nnever\n"].concat();
        assert_eq!(split([&longer[..]]), (vec![b"ok".to_vec()], true));
        assert_eq!(split(longer.chunks(1000)), (vec![b"ok".to_vec()], true));
        assert_eq!(split([&longer[..MAX_LINE + 4]]), (vec![b"ok".to_vec()], true));
    }

    #[test]
    fn a_line_that_has_begun_goes_on_in_another_splitter() {
        let mut lines = Lines::new();
        let mut chunk = &b"one\nt"[..];
        assert_eq!(lines.next(&mut chunk), Ok(Some(&b"one"[..])));
        assert_eq!(lines.next(&mut chunk), Ok(None));
        assert_eq!(lines.begun(), b"t");
        let mut chunk = &b"wo\nthr"[..];
        let mut other = Lines::within(lines.begun().to_vec());
        assert_eq!(other.next(&mut chunk), Ok(Some(&b"two"[..])));
        assert_eq!(other.begun(), b"", "what was handed out is no beginning");
        assert_eq!(other.next(&mut chunk), Ok(None));
        assert_eq!(other.begun(), b"thr");
    }

    #[test]
    fn a_broken_stream_stays_broken_and_holds_nothing() {
        let mut lines = Lines::new();
        let flood = vec![b'x'; 1 << 20];
        let mut chunk = &flood[..];
        assert_eq!(lines.next(&mut chunk), Err(LineTooLong));
        assert_eq!(lines.memory(), 0);
        let mut chunk = &b"{}\n"[..];
        assert_eq!(lines.next(&mut chunk), Err(LineTooLong));
    }

    #[test]
    fn memory_returns_after_a_burst() {
        let mut lines = Lines::new();
        let burst = vec![b'x'; MAX_LINE];
        let mut chunk = &burst[..];
        assert_eq!(lines.next(&mut chunk), Ok(None));
        assert!(lines.memory() >= MAX_LINE);
        let mut chunk = &b"\n"[..];
        assert!(lines.next(&mut chunk).unwrap().is_some());
        assert_eq!(lines.next(&mut chunk), Ok(None));
        assert!(lines.memory() <= KEPT_ROOM);
    }

    /// The plainest possible reading of the same bytes.
    fn reference(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut all = Vec::new();
        let mut pieces: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        let unfinished = pieces.pop().unwrap();
        for piece in pieces {
            if piece.len() > MAX_LINE {
                return (all, true);
            }
            if !piece.trim_ascii().is_empty() {
                all.push(piece.trim_ascii().to_vec());
            }
        }
        (all, unfinished.len() > MAX_LINE)
    }

    /// Streams with many line ends and now and then a very long line.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()], 0..60),
            1 => (MAX_LINE - 2..MAX_LINE + 3).prop_map(|length| vec![b'x'; length]),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_lines(
            bytes in stream(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut cuts: Vec<usize> =
                cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let expected = reference(&bytes);
            prop_assert_eq!(&split(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]])), &expected);
            prop_assert_eq!(&split([&bytes[..]]), &expected);
            prop_assert_eq!(&split(bytes.chunks(1)), &expected);
        }
    }
}
