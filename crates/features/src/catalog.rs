//! What a query may read, and what is known of it before anything runs.

use arrow::datatypes::SchemaRef;

use crate::window::spec::{Emit, LatePolicy};

/// How the rows of a relation are shared out among tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionedBy {
    /// One partition: every row meets every other.
    Single,
    /// Several, by the value of this column (its index): rows with one value are in one partition.
    Key(usize),
    /// Several, by something that is not a column.
    Unknown,
}

/// A stream of rows: the source, or an earlier step.
#[derive(Clone, Debug)]
pub struct Relation {
    /// The name in FROM.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Which column is the rows' event time.
    pub event_time: Option<usize>,
    /// How it is partitioned.
    pub partitioned_by: PartitionedBy,
}

/// A reference table, as far as planning needs it.
#[derive(Clone, Debug)]
pub struct TableSchema {
    /// The name in FROM.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns of its unique key.
    pub key: Vec<usize>,
}

/// Everything a query may read.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Streams; a query reads exactly one.
    pub relations: Vec<Relation>,
    /// Tables; a query may join any of them.
    pub tables: Vec<TableSchema>,
}

impl Catalog {
    pub(crate) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|r| r.name == name)
    }

    pub(crate) fn table(&self, name: &str) -> Option<&TableSchema> {
        self.tables.iter().find(|t| t.name == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.relations.iter().map(|r| r.name.as_str()).chain(self.tables.iter().map(|t| t.name.as_str()))
    }
}

/// How a query's windows behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// When rows come out.
    pub emit: Emit,
    /// What happens to rows behind the watermark.
    pub late: LatePolicy,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { emit: Emit::OnArrival, late: LatePolicy::Drop }
    }
}
