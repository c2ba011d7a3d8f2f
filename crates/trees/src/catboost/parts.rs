//! What both of CatBoost's formats hold: features, splits, trees, tables and facts. `cbm` and `json` fill it, `lower`
//! makes a forest of it.

use super::ctr::{CtrFeature, CtrTable};

/// A model as it stands in its file.
pub(super) struct Parts {
    /// Numbers in each leaf.
    pub(super) dimension: usize,
    pub(super) floats: Vec<FloatFeature>,
    pub(super) cats: Vec<OtherFeature>,
    /// Text and embedding features, which no tree uses.
    pub(super) idle: Vec<OtherFeature>,
    pub(super) one_hots: Vec<OneHot>,
    pub(super) ctrs: Vec<CtrFeature>,
    pub(super) tables: Vec<CtrTable>,
    pub(super) trees: Vec<RawTree>,
    pub(super) scale: f64,
    /// One number for each of `dimension`.
    pub(super) bias: Vec<f64>,
}

/// A number that is compared with borders.
pub(super) struct FloatFeature {
    /// Its number among the numeric features.
    pub(super) index: i32,
    /// Its number among all features.
    pub(super) flat: i32,
    pub(super) name: String,
    /// Whether a missing value is greater than all borders; it is smaller otherwise.
    pub(super) nan_is_greatest: bool,
    pub(super) borders: Vec<f32>,
}

/// A feature that is no number.
pub(super) struct OtherFeature {
    pub(super) index: i32,
    pub(super) flat: i32,
    pub(super) name: String,
}

/// Values of a categorical feature that splits ask for.
pub(super) struct OneHot {
    /// The feature's number among the categorical ones.
    pub(super) index: i32,
    pub(super) values: Vec<i32>,
}

/// A tree.
pub(super) struct RawTree {
    pub(super) shape: Shape,
    /// The leaves, `dimension` numbers each.
    pub(super) leaves: Vec<f64>,
}

pub(super) enum Shape {
    /// Every level asks one question, the first one answers the lowest bit of the leaf's number.
    Oblivious(Vec<i32>),
    /// Nodes; the first is the root.
    Nodes(Vec<RawNode>),
}

#[derive(Clone, Copy)]
pub(super) enum RawNode {
    Split { split: i32, left: u32, right: u32 },
    Leaf(u32),
}

/// One of the questions that splits ask. They are numbered over all features, in this order: borders of numbers, values of
/// one-hot features, borders of CTRs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Question {
    Border { float: usize, border: f32 },
    Value { index: i32, value: i32 },
    Ctr { ctr: usize, border: f32 },
}

impl Parts {
    /// All questions, in the order of their numbers.
    pub(super) fn questions(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for (float, feature) in self.floats.iter().enumerate() {
            questions.extend(feature.borders.iter().map(|&border| Question::Border { float, border }));
        }
        for one_hot in &self.one_hots {
            questions.extend(one_hot.values.iter().map(|&value| Question::Value { index: one_hot.index, value }));
        }
        for (ctr, feature) in self.ctrs.iter().enumerate() {
            questions.extend(feature.borders.iter().map(|&border| Question::Ctr { ctr, border }));
        }
        questions
    }
}

/// Borders rise (CatBoost counts how many are passed) and are numbers.
pub(super) fn check_borders(borders: &[f32]) -> Result<(), String> {
    match borders.iter().zip(borders.iter().skip(1)).find(|(a, b)| a > b) {
        Some((a, b)) => Err(format!("{a} stands before {b}; borders must rise")),
        None if borders.iter().any(|border| border.is_nan()) => Err("a border is NaN".into()),
        None => Ok(()),
    }
}
