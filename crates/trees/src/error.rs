//! What can be wrong with a model file, or with a call.

use std::fmt;

/// Where in a model something was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The part of the file, in the file's own words: `learner.gradient_booster.model`, `left_child`, `byte 17`.
    pub part: String,
    /// The tree, counted from 0.
    pub tree: Option<usize>,
    /// The node in the tree, in the file's own numbering.
    pub node: Option<usize>,
}

impl Place {
    pub(crate) fn part(part: impl Into<String>) -> Self {
        Self { part: part.into(), tree: None, node: None }
    }

    pub(crate) fn byte(offset: usize) -> Self {
        Self::part(format!("byte {offset}"))
    }

    pub(crate) fn tree(tree: usize, part: impl Into<String>) -> Self {
        Self { part: part.into(), tree: Some(tree), node: None }
    }

    pub(crate) fn node(tree: usize, node: usize, part: impl Into<String>) -> Self {
        Self { part: part.into(), tree: Some(tree), node: Some(node) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tree) = self.tree {
            write!(f, "tree {tree}, ")?;
        }
        if let Some(node) = self.node {
            write!(f, "node {node}, ")?;
        }
        f.write_str(&self.part)
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("`{path}` can't be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no model that is known here.
    #[error("not a model that is known here: {seen}")]
    UnknownFormat {
        /// What the bytes look like.
        seen: String,
    },
    /// The model is damaged or cut short, or contradicts itself.
    #[error("{at}: {problem}")]
    Malformed {
        /// Where.
        at: Place,
        /// What was seen and what is allowed.
        problem: String,
    },
    /// The model is well formed, and uses something that is not supported.
    #[error("{at}: {what} is not supported")]
    Unsupported {
        /// Where.
        at: Place,
        /// What.
        what: String,
    },
}

impl LoadError {
    pub(crate) fn malformed(at: Place, problem: impl Into<String>) -> Self {
        Self::Malformed { at, problem: problem.into() }
    }

    pub(crate) fn unsupported(at: Place, what: impl Into<String>) -> Self {
        Self::Unsupported { at, what: what.into() }
    }
}

/// Why a prediction was refused: the caller's slices don't fit the model. Nothing was computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The input is no whole number of rows.
    #[error("{values} values are no whole number of rows of {features} features")]
    Input {
        /// Values given.
        values: usize,
        /// Features of the model.
        features: usize,
    },
    /// The columns are not one for each feature, or not all as long.
    #[error("{columns} columns of {shortest} to {longest} values, the model has {features} features")]
    Columns {
        /// Columns given.
        columns: usize,
        /// Features of the model.
        features: usize,
        /// Values of the shortest column.
        shortest: usize,
        /// Values of the longest.
        longest: usize,
    },
    /// The output slice has the wrong length.
    #[error("the output holds {given} numbers, {rows} rows of {outputs} need {}", .rows * .outputs)]
    OutputLength {
        /// Numbers the slice holds.
        given: usize,
        /// Rows given.
        rows: usize,
        /// Numbers per row.
        outputs: usize,
    },
    /// float32 rows, and a model whose category codes don't fit into float32.
    #[error("the model knows categories by hashes, which float32 can't hold; give the rows as float64")]
    NeedsDouble,
    /// The model gives no contributions.
    #[error("no contributions: {why}")]
    NoContributions {
        /// Why not.
        why: &'static str,
    },
    /// The model's leaves have no numbers.
    #[error("no leaf indices: {why}")]
    NoLeaves {
        /// Why not.
        why: &'static str,
    },
    /// The model has no output of this kind: a regression has no classes.
    #[error("a model with objective `{objective}` has no classes")]
    NoClasses {
        /// The model's objective.
        objective: String,
    },
}
