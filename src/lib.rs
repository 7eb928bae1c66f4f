//! Nightjar
