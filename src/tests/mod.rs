//! Attacks on every reader of what others have written.

pub(crate) mod hostile;
