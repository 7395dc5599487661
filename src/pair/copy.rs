//! A copy of the other box's file of jobs ([`crate::job_journal`]), so that what its miners found for them
//! counts here when they come.
//!
//! ```text
//!  the box that copies                     the box that has miners at the shared address
//!  JobsWanted { file, from } ────────────► as soon as there is more:
//!  appends ◄──────────────────────────────  JobsPart { file, from, bytes }
//!  JobsWanted { file, from + bytes } ────► …
//! ```
//!
//! The one that copies asks, and asks for no second part before it has the first: so a part is all that is
//! ever on its way, a block waits behind no more than that, and a box of a version without copies is asked
//! once and says nothing. Nothing is asked while the other one has no miners at the shared address.

#[cfg(test)]
mod tests;

use super::message::{JobsPart, JobsWanted};

/// Bytes of a part: a block that is solved meanwhile waits behind it for a millisecond on a cable.
pub const PART_MAX: usize = 16 * 1024;

/// Bytes of a copy. The file itself is begun anew at twelve million, and may exceed that by a record.
pub const COPY_MAX: u64 = 20 << 20;

/// What is to be done with the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// It begins with this, in the place of what was there.
    Begin(JobsPart),
    /// This comes after what is there.
    Append(JobsPart),
}

/// The end that copies.
#[derive(Debug, Default)]
pub struct Copying {
    /// The run of the other box that has the file; 0 for none.
    run: u64,
    file: u64,
    length: u64,
    /// A part is on its way.
    asked: bool,
    /// The other box has miners that would come here.
    is_needed: bool,
}

impl Copying {
    /// The other box is connected. A copy of the same run of it is continued.
    pub fn met(&mut self, run: u64) {
        self.lost();
        if self.run != run {
            *self = Copying { run, ..Copying::default() };
        }
    }

    /// It is not connected any more: what is here stays.
    pub fn lost(&mut self) {
        (self.asked, self.is_needed) = (false, false);
    }

    /// Whether the other box has miners that would come here.
    pub fn set_needed(&mut self, is_needed: bool) {
        self.is_needed = is_needed;
    }

    /// What is to be asked for now.
    pub fn ask(&mut self) -> Option<JobsWanted> {
        let asks = self.is_needed && !self.asked && self.length < COPY_MAX;
        self.asked |= asks;
        asks.then_some(JobsWanted { file: self.file, from: self.length })
    }

    /// A part came. What nobody asked for, or does not fit, is dropped.
    pub fn take(&mut self, part: JobsPart) -> Option<Write> {
        if !std::mem::take(&mut self.asked) || part.bytes.is_empty() || part.bytes.len() > PART_MAX
        {
            return None;
        }
        let length = part.bytes.len() as u64;
        if part.from == 0 {
            (self.file, self.length) = (part.file, length);
            return Some(Write::Begin(part));
        }
        let fits = part.file == self.file && part.from == self.length;
        self.length += if fits { length } else { 0 };
        fits.then_some(Write::Append(part))
    }
}
