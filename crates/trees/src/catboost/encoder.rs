//! From a row of a model's features to the row its trees see: numbers as float32, one-hot features as 0 and 1, and the
//! statistics of categories.

use super::city::city_hash64;
use super::ctr::{CtrTable, Formula};

/// What CatBoost multiplies with when it joins hashes.
const JOIN: u64 = 0x4906_ba49_4954_cb65;

/// Makes the trees' row. All places are in range: [`super::lower`] checks them.
pub(crate) struct Encoder {
    /// Which input each number is.
    pub(super) numbers: Vec<u32>,
    /// Questions whether a category is one: the input and the category's hash.
    pub(super) values: Vec<(u32, i32)>,
    pub(super) combinations: Vec<Inputs>,
    pub(super) statistics: Vec<Statistic>,
    pub(super) tables: Vec<CtrTable>,
    /// Whether any input is a category.
    pub(super) has_categories: bool,
}

/// What is counted together, by input.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Inputs {
    pub(super) cats: Vec<u32>,
    /// The input, the border, and whether a missing value is greater.
    pub(super) floats: Vec<(u32, f32, bool)>,
    pub(super) one_hots: Vec<(u32, i32)>,
}

/// A statistic of categories as a feature.
pub(super) struct Statistic {
    /// An index into [`Encoder::combinations`].
    pub(super) combination: usize,
    /// An index into [`Encoder::tables`].
    pub(super) table: usize,
    pub(super) formula: Formula,
}

impl Encoder {
    /// How many numbers a row of the trees has.
    pub(crate) fn width(&self) -> usize {
        (self.numbers.len() + self.values.len() + self.statistics.len()).max(1)
    }

    /// Whether rows must be float64, because category codes don't fit into float32.
    pub(crate) fn has_categories(&self) -> bool {
        self.has_categories
    }

    /// Makes one row. `value` gives an input's value.
    pub(crate) fn encode(&self, value: impl Fn(usize) -> f64, out: &mut [f64]) {
        let category = |input: u32| category(value(input as usize));
        let (numbers, rest) = out.split_at_mut(self.numbers.len());
        for (out, &input) in numbers.iter_mut().zip(&self.numbers) {
            *out = f64::from(value(input as usize) as f32);
        }
        let (values, statistics) = rest.split_at_mut(self.values.len());
        for (out, &(input, wanted)) in values.iter_mut().zip(&self.values) {
            *out = if category(input) == wanted { 1.0 } else { 0.0 };
        }
        // Statistics of the same combination stand side by side, and so do those of the same table: what was found for
        // one is kept for the next.
        let (mut hashed, mut found) = ((usize::MAX, 0), (usize::MAX, None));
        for (out, statistic) in statistics.iter_mut().zip(&self.statistics) {
            let Some(table) = self.tables.get(statistic.table) else { continue };
            if hashed.0 != statistic.combination {
                let inputs = self.combinations.get(statistic.combination);
                hashed = (statistic.combination, inputs.map_or(0, |inputs| inputs.hash(&value)));
                found.0 = usize::MAX;
            }
            if found.0 != statistic.table {
                found = (statistic.table, table.find(hashed.1));
            }
            *out = f64::from(table.value(found.1, &statistic.formula));
        }
    }
}

impl Inputs {
    fn hash(&self, value: impl Fn(usize) -> f64) -> u64 {
        let join = |hash: u64, next: u64| JOIN.wrapping_mul(hash.wrapping_add(JOIN.wrapping_mul(next)));
        let category = |input: u32| category(value(input as usize));
        let mut hash = 0;
        for &input in &self.cats {
            hash = join(hash, i64::from(category(input)) as u64);
        }
        for &(input, border, nan_is_greatest) in &self.floats {
            let x = value(input as usize) as f32;
            let x = if x.is_nan() && nan_is_greatest { f32::INFINITY } else { x };
            hash = join(hash, u64::from(x > border));
        }
        for &(input, wanted) in &self.one_hots {
            hash = join(hash, u64::from(category(input) == wanted));
        }
        hash
    }
}

/// The category that a row's number stands for: what [`code_of_text`] gave for it. A missing value is the empty string.
fn category(code: f64) -> i32 {
    let known = (0.0..=f64::from(u32::MAX)).contains(&code);
    (if known { code as u32 } else { hash_of(b"") }) as i32
}

fn hash_of(text: &[u8]) -> u32 {
    city_hash64(text) as u32
}

/// The number that stands for a category in a row.
pub(crate) fn code_of_text(text: &str) -> f64 {
    f64::from(hash_of(text.as_bytes()))
}

/// The number that stands for a category that is a number: that of its decimal text, as CatBoost does with integers.
pub(crate) fn code_of_number(number: f64) -> f64 {
    if number.is_nan() {
        return f64::NAN;
    }
    // The longest finite number has 309 digits, or 324 places behind the point and a few more.
    let mut buffer = [0u8; 352];
    let mut rest = &mut buffer[..];
    let room = rest.len();
    let whole = number.fract() == 0.0 && number.abs() < 9.2e18;
    let written = if whole {
        std::io::Write::write_fmt(&mut rest, format_args!("{}", number as i64))
    } else {
        std::io::Write::write_fmt(&mut rest, format_args!("{number}"))
    };
    let length = room - rest.len();
    written.map_or(f64::NAN, |()| f64::from(hash_of(buffer.get(..length).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hashed_as_their_text() {
        for (number, text) in [(3.0, "3"), (-3.0, "-3"), (-0.0, "0"), (2.5, "2.5"), (9e15, "9000000000000000")] {
            assert_eq!(code_of_number(number), code_of_text(text));
        }
        assert!(code_of_number(f64::NAN).is_nan());
        for number in [f64::MAX, f64::MIN, -5e-324, f64::INFINITY] {
            assert!(code_of_number(number) >= 0.0, "{number:e}");
        }
        assert_eq!(category(f64::NAN), hash_of(b"") as i32);
        assert_eq!(category(code_of_text("a")), hash_of(b"a") as i32);
    }
}
