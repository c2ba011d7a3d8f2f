//! What a model knows of its inputs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::catboost::{code_of_number, code_of_text};

/// One input of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feature {
    /// The name it was trained under, where the file has one.
    pub name: Option<String>,
    /// Whether it is a category: its values are then category codes (0, 1, 2, … but for [`Categories::Hashed`]).
    pub categorical: bool,
    /// The categories behind the codes, where the file has them.
    pub categories: Option<Arc<Categories>>,
}

/// The categories of a feature: category `i` has code `i`.
#[derive(Clone, Debug, PartialEq)]
pub enum Categories {
    /// Strings.
    Text(CategoryNames),
    /// Numbers; a feature trained on numbers that are categories.
    Numbers(Vec<f64>),
    /// Any string or whole number: the model knows categories by a hash, which is their code. It needs float64.
    Hashed,
}

/// Categories that are strings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CategoryNames {
    names: Vec<String>,
    codes: HashMap<String, u32>,
}

impl CategoryNames {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let codes = (0u32..).zip(&names).map(|(code, name)| (name.clone(), code)).collect();
        Self { names, codes }
    }

    /// The names in the order of their codes.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Feature {
    /// The value that stands for a category given as a string; NaN (a missing value) for one the model never saw.
    pub fn encode_text(&self, category: &str) -> f64 {
        match self.categories.as_deref() {
            Some(Categories::Text(names)) => names.codes.get(category).map_or(f64::NAN, |&code| f64::from(code)),
            Some(Categories::Hashed) => code_of_text(category),
            _ => f64::NAN,
        }
    }

    /// The value that stands for a number: the code of that category where the model's categories are numbers
    /// (NaN for one it never saw), the code of its decimal text where they are hashed, the number itself otherwise.
    pub fn encode_number(&self, number: f64) -> f64 {
        match self.categories.as_deref() {
            Some(Categories::Numbers(numbers)) => {
                numbers.iter().position(|&n| n == number).map_or(f64::NAN, |code| code as f64)
            }
            Some(Categories::Hashed) => code_of_number(number),
            _ => number,
        }
    }
}
