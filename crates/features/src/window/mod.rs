//! OVER windows as an incremental operator.

pub mod operator;
pub mod spec;

pub use operator::WindowOperator;
