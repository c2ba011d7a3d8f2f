//! One number at a time, in the number type of the graph. Numbers travel as float64, which holds a float32 and every
//! whole number that occurs here exactly.

use crate::exp32::exp32;

/// The type of a value's elements, as far as arithmetic cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    Double,
    /// Whole numbers and truth values.
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Neg,
    Abs,
    Exp,
    Log,
    Sqrt,
    Sigmoid,
    Not,
    /// To the kind of the step.
    Cast,
    ToBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

impl Kind {
    /// Rounds a result to the kind.
    pub(super) fn round(self, x: f64) -> f64 {
        match self {
            Self::Single => f64::from(x as f32),
            Self::Double => x,
            Self::Whole => x.trunc(),
        }
    }

    /// The sum of products, one after another with one rounding each as matrix libraries do it, and then `start`.
    pub(super) fn products(self, pairs: impl Iterator<Item = (f64, f64)>, start: f64) -> f64 {
        match self {
            Self::Single => {
                let sum = pairs.fold(0.0f32, |sum, (x, factor)| (x as f32).mul_add(factor as f32, sum));
                f64::from(sum + start as f32)
            }
            _ => pairs.fold(0.0f64, |sum, (x, factor)| x.mul_add(factor, sum)) + start,
        }
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

impl Unary {
    pub(super) fn apply(self, kind: Kind, x: f64) -> f64 {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Exp if kind == Kind::Single => f64::from(exp32(x as f32)),
            Self::Exp => x.exp(),
            Self::Log => kind.round(x.ln()),
            Self::Sqrt => kind.round(x.sqrt()),
            Self::Sigmoid => kind.round(1.0 / (1.0 + (-x).exp())),
            Self::Not => truth(x == 0.0),
            // As C++ converts: fractions are cut off. Out of range nothing is defined there.
            Self::Cast if kind == Kind::Whole => x as i64 as f64,
            Self::Cast => kind.round(x),
            Self::ToBool => truth(x != 0.0),
        }
    }
}

impl Binary {
    /// Sums, differences, products and quotients of two float32 numbers, rounded once from float64, are those that
    /// float32 arithmetic gives.
    pub(super) fn apply(self, kind: Kind, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => kind.round(a + b),
            Self::Sub => kind.round(a - b),
            Self::Mul => kind.round(a * b),
            Self::Div => kind.round(a / b),
            Self::Pow => kind.round(a.powf(b)),
            Self::Max | Self::Min if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::Equal => truth(a == b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::Greater => truth(a > b),
            Self::GreaterOrEqual => truth(a >= b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
        }
    }

    /// Whether the result is a truth value.
    pub(super) fn is_comparison(self) -> bool {
        use Binary::*;
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual | And | Or)
    }
}
