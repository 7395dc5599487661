//! Two boxes as one: what they tell each other, and what neither does without the other.

pub mod code;
pub mod place;

pub use code::Code;
pub use place::VirtualAddress;

/// Where the boxes of a pair listen to each other unless the owner says otherwise.
pub const PORT: u16 = 3337;
