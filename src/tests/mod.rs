//! What unit tests share, and attacks on every reader of outside input.

pub(crate) mod fixtures;
pub(crate) mod hostile;
pub(crate) mod pages;
