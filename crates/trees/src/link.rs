//! From the raw sums to the prediction, in the arithmetic of the framework.

use crate::exp32::exp32;
use crate::exp64::{exp64, exp64_each};

/// The function between raw sums and predictions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    /// The prediction is the raw sum.
    Identity,
    /// XGBoost's logistic function, float32.
    Sigmoid32,
    /// `exp` in float32.
    Exp32,
    /// 1 if the margin is positive, else 0.
    Hinge,
    /// Class probabilities in float32.
    Softmax32,
    /// The index of the greatest margin (XGBoost's `multi:softmax`): one number a row.
    ArgMax,
    /// `1 / (1 + exp(-slope · x))` in float64, for each output by itself.
    Sigmoid64 { slope: f64 },
    /// Class probabilities in float64.
    Softmax64,
    /// `exp` in float64.
    Exp64,
    /// `ln(1 + exp(x))`
    LogOnePlusExp,
    /// `x²` with the sign of `x` (LightGBM's `reg_sqrt`).
    SignedSquare,
    /// The probabilities of both classes of a binary classifier, class 0 first (CatBoost).
    TwoClasses,
    /// Class probabilities with CatBoost's own `exp`.
    FastSoftmax,
    /// CatBoost's own `exp`.
    FastExp,
    /// A mean, and a variance from the logarithm of a standard deviation (CatBoost).
    MeanAndVariance,
}

/// What a model's classes are read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Classes {
    /// It has none.
    None,
    /// Each prediction above one half is class 1, others are class 0.
    Half,
    /// The index of the greatest prediction.
    Greatest,
    /// The prediction is the class.
    Prediction,
    /// Each raw sum above this is class 1, others are class 0.
    RawAbove(f64),
    /// The index of the greatest raw sum.
    RawGreatest,
}

impl Link {
    /// How many predictions `raw` sums give.
    pub(crate) fn outputs(self, raw: usize) -> usize {
        match self {
            Self::ArgMax => 1,
            Self::TwoClasses => 2,
            _ => raw,
        }
    }

    /// Applies the link to one row. `out` is as long as [`Link::outputs`] says.
    pub(crate) fn apply(self, raw: &[f64], out: &mut [f64]) {
        let each = |out: &mut [f64], f: &dyn Fn(f64) -> f64| {
            out.iter_mut().zip(raw).for_each(|(out, &raw)| *out = f(raw));
        };
        match self {
            Self::Identity => out.copy_from_slice(raw),
            Self::Sigmoid32 => out.iter_mut().zip(raw).for_each(|(out, &raw)| *out = f64::from(sigmoid32(raw as f32))),
            Self::Exp32 => each(out, &|x| f64::from(exp32(x as f32))),
            Self::Hinge => each(out, &|x| if x > 0.0 { 1.0 } else { 0.0 }),
            Self::Softmax32 => softmax32(raw, out),
            Self::ArgMax => out.fill(greatest(raw) as f64),
            Self::Sigmoid64 { slope } => each(out, &|x| 1.0 / (1.0 + (-slope * x).exp())),
            Self::Softmax64 => softmax64(raw, out),
            Self::Exp64 => each(out, &f64::exp),
            Self::LogOnePlusExp => each(out, &|x| x.exp().ln_1p()),
            Self::SignedSquare => each(out, &|x| sign(x) * x * x),
            Self::TwoClasses => {
                let p = raw.first().map_or(f64::NAN, |x| 1.0 / (1.0 + (-x).exp()));
                out.iter_mut().zip([1.0 - p, p]).for_each(|(out, p)| *out = p);
            }
            Self::MeanAndVariance => {
                out.copy_from_slice(raw);
                out.iter_mut().skip(1).for_each(|x| *x = exp64(*x * 2.0));
            }
            Self::FastExp => each(out, &exp64),
            Self::FastSoftmax => fast_softmax(raw, out),
        }
    }
}

/// The sign as LightGBM has it: 0 for 0 (and for NaN).
fn sign(x: f64) -> f64 {
    f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

/// The index of the greatest number, the first of equals.
pub(crate) fn greatest(numbers: &[f64]) -> usize {
    let mut best = 0;
    for (index, &number) in numbers.iter().enumerate() {
        if numbers.get(best).is_some_and(|&best| number > best) {
            best = index;
        }
    }
    best
}

/// XGBoost's sigmoid: all steps in float32, the exponent capped so that nothing overflows, and a term that keeps
/// the division from zero (it vanishes in the rounding, and stands here because it does so there).
pub(crate) fn sigmoid32(x: f32) -> f32 {
    let exponent = (-x).min(88.7);
    1.0 / (exp32(exponent) + 1.0 + 1e-16)
}

fn softmax32(raw: &[f64], out: &mut [f64]) {
    let max = raw.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x as f32));
    let mut sum = 0.0f64;
    for (out, &x) in out.iter_mut().zip(raw) {
        *out = f64::from(exp32(x as f32 - max));
        sum += *out;
    }
    out.iter_mut().for_each(|out| *out = f64::from(*out as f32 / sum as f32));
}

fn fast_softmax(raw: &[f64], out: &mut [f64]) {
    let max = raw.get(greatest(raw)).copied().unwrap_or_default();
    out.iter_mut().zip(raw).for_each(|(out, &x)| *out = x - max);
    exp64_each(out);
    let sum: f64 = out.iter().fold(0.0, |sum, x| sum + x);
    out.iter_mut().for_each(|out| *out /= sum);
}

fn softmax64(raw: &[f64], out: &mut [f64]) {
    let max = raw.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x));
    let mut sum = 0.0;
    for (out, &x) in out.iter_mut().zip(raw) {
        *out = (x - max).exp();
        sum += *out;
    }
    out.iter_mut().for_each(|out| *out /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_safe() {
        assert_eq!(sigmoid32(f32::INFINITY), 1.0);
        assert!(sigmoid32(f32::NEG_INFINITY) > 0.0);
        assert_eq!(sigmoid32(0.0), 0.5);
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), 1);
        let mut out = [0.0; 3];
        Link::Softmax32.apply(&[1e30, 0.0, -1e30], &mut out);
        assert_eq!(out, [1.0, 0.0, 0.0]);
        Link::SignedSquare.apply(&[-3.0, 0.0, 2.0], &mut out);
        assert_eq!(out, [-9.0, 0.0, 4.0]);
    }
}
