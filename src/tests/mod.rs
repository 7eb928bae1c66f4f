//! Attacks on every reader of outside input.

pub(crate) mod hostile;
