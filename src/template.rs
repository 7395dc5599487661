//! getblocktemplate JSON → Template.

/// A block template.
#[derive(Debug)]
pub struct Template {}
