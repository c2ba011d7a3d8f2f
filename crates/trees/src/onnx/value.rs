//! The values that pass between a graph's nodes while it is read. Nothing is computed on rows here: a value says where
//! its numbers will stand when a row is predicted.

use std::rc::Rc;

use super::arithmetic::Kind;
use super::proto::{Data, TensorProto, element};
use crate::error::{LoadError, Place};

/// The type of a value's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Single,
    Double,
    Whole,
    Bool,
    /// An input that is a string: its column holds the number of a category.
    Text,
    /// A label that is a string: its column holds the label's place in [`Row::labels`].
    Label,
}

/// When a value's numbers are known: always, as soon as the row is there, or after its ensembles were evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Constant,
    Before,
    After,
}

/// A value with columns for each row, each in a register of its own.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) ty: Type,
    pub(super) stage: Stage,
    pub(super) registers: Rc<[u32]>,
    /// Whether what stands in the registers counts as rounded to float32.
    pub(super) rounded: bool,
    /// Whether it is not rounded yet; ensembles do that themselves.
    pub(super) lazy: bool,
    pub(super) labels: Option<Rc<[String]>>,
}

/// A sum of single trees' results, added in order: each result is a table with a number for every leaf of the tree.
#[derive(Clone, Debug)]
pub(super) struct Leaves {
    pub(super) ty: Type,
    pub(super) parts: Rc<Vec<(usize, Rc<[f64]>)>>,
}

impl Leaves {
    /// The result of one tree.
    pub(super) fn one(ty: Type, tree: usize, table: Rc<[f64]>) -> Self {
        Self { ty, parts: Rc::new(vec![(tree, table)]) }
    }
}

/// A constant.
#[derive(Debug)]
pub(super) struct Constant {
    pub(super) ty: Type,
    pub(super) dims: Vec<usize>,
    pub(super) data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Constant(Rc<Constant>),
    Row(Row),
    Leaves(Leaves),
    /// What can't be computed, and why; an error only if it is needed.
    Bad(Rc<(Place, String)>),
}

impl Type {
    pub(super) fn of_element(element: i64) -> Option<Self> {
        Some(match element {
            element::FLOAT => Self::Single,
            element::DOUBLE => Self::Double,
            element::STRING => Self::Text,
            element::BOOL => Self::Bool,
            element::UINT8..=element::INT64 | element::UINT32 | element::UINT64 => Self::Whole,
            _ => return None,
        })
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Single => Kind::Single,
            Self::Double => Kind::Double,
            _ => Kind::Whole,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Single | Self::Double)
    }
}

impl Constant {
    pub(super) fn of(tensor: &TensorProto<'_>) -> Result<Self, LoadError> {
        let data = tensor.data()?;
        let ty = Type::of_element(tensor.data_type);
        let ty = ty.ok_or_else(|| {
            LoadError::unsupported(
                Place::part("tensor"),
                format!("a tensor with elements of type {}", tensor.data_type),
            )
        })?;
        let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
        Ok(Self { ty, dims, data })
    }

    /// A row of numbers.
    pub(super) fn row(ty: Type, numbers: Vec<f64>) -> Self {
        Self { ty, dims: vec![numbers.len()], data: Data::Numbers(numbers) }
    }

    pub(super) fn numbers(&self) -> Option<&[f64]> {
        match &self.data {
            Data::Numbers(numbers) => Some(numbers),
            Data::Strings(_) => None,
        }
    }
}

impl Row {
    pub(super) fn width(&self) -> usize {
        self.registers.len()
    }
}
