//! The operator against a naive reference: every function, frame and emit mode, under disorder, ties, nulls,
//! filters, lateness, any cut into batches, and snapshots at any point.

mod changes;
mod data;
mod long;
mod random;
mod reference;
mod shapes;
