//! Particular situations.
