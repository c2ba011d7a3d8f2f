//! SQL features over event time.
//!
//! Owns everything between SQL text and rows: planning ([`plan_query`], [`plan_predicate`],
//! [`plan_projection`]), reference tables ([`Table`]), and the operators that run a plan as a deterministic
//! [`millstream_core::Step`]. The only crate that names DataFusion, which parses, resolves types and evaluates
//! expressions; what has state is our own ([`window`]).
//!
//! Planning is pure: it reads its arguments and nothing else. A built step runs on the worker's thread that
//! owns the task, and stops when it is dropped.

pub mod catalog;
pub mod codes;
mod exec;
mod names;
mod plan;
mod problem;
mod rowwise;
mod sql;
mod table;
pub mod window;

pub use catalog::{Catalog, PartitionedBy, QueryOptions, Relation, TableSchema};
pub use exec::eval::{RowError, panic_is_caught};
pub use plan::{QueryPlan, StateInfo, Tables, plan_query};
pub use problem::SqlProblem;
pub use rowwise::{Predicate, Projected, Projection, plan_predicate, plan_projection};
pub use table::{Table, TableFormat};
pub use window::spec::{Emit, LatePolicy};
