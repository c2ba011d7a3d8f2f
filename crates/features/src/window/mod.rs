//! OVER windows as an incremental operator.

mod accumulator;
mod blocks;
pub mod codes;
mod evaluate;
mod exact;
mod expiry;
mod intern;
mod key;
pub mod operator;
mod output;
mod partition;
mod pending;
mod plan;
mod ring;
mod snapshot;
pub mod spec;
mod store;
mod ties;
mod value;

pub use operator::WindowOperator;

#[cfg(test)]
mod tests;
