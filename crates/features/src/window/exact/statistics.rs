//! Variance, covariance, correlation and slope from exact sums.
//!
//! All of them rest on one integer, `n·Σxy − Σx·Σy`, which is computed without rounding however much of it
//! cancels. It is then rounded to 53 bits (with an exponent of its own, so that squares of 1e200 don't overflow
//! on the way to their standard deviation) and divided.

use super::round::{self, Scaled, scale};
use super::sum::{ExactProducts, ExactSum};

/// The sums over the pairs of a frame where neither value is null.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// The number of pairs.
    pub n: u64,
    /// Σx
    pub x: ExactSum,
    /// Σy
    pub y: ExactSum,
    /// Σxy
    pub xy: ExactProducts,
    /// Σx²
    pub xx: ExactProducts,
    /// Σy²
    pub yy: ExactProducts,
}

impl Moments {
    /// Adds a pair.
    pub fn add(&mut self, y: f64, x: f64) {
        self.n += 1;
        self.x.add(x);
        self.y.add(y);
        self.xy.add(x, y);
        self.xx.add(x, x);
        self.yy.add(y, y);
    }

    /// Takes back a pair that was added.
    pub fn subtract(&mut self, y: f64, x: f64) {
        self.n = self.n.saturating_sub(1);
        self.x.subtract(x);
        self.y.subtract(y);
        self.xy.subtract(x, y);
        self.xx.subtract(x, x);
        self.yy.subtract(y, y);
    }

    fn is_finite(&self) -> bool {
        self.x.special().is_none() && self.y.special().is_none()
    }
}

/// Variance (or its root) of `n` values with the sum `x` and the sum of squares `xx`. `None` is NULL: no value,
/// or one and `sample`. NaN if any value is NaN or infinite.
#[inline]
pub fn variance(n: u64, x: &ExactSum, xx: &ExactProducts, sample: bool, root: bool) -> Option<f64> {
    if n <= u64::from(sample) {
        return None;
    }
    if x.special().is_some() {
        return Some(f64::NAN);
    }
    if n == 1 {
        return Some(0.0);
    }
    let Some(mut spread) = cross(n, xx, x, x) else { return Some(0.0) };
    let pairs = degrees(n, sample);
    if !root {
        return Some(scale(spread.mantissa / pairs, spread.exponent));
    }
    if spread.exponent & 1 != 0 {
        spread = Scaled { mantissa: spread.mantissa * 2.0, exponent: spread.exponent - 1 };
    }
    Some(scale((spread.mantissa / pairs).sqrt(), spread.exponent / 2))
}

/// Covariance; NULL and NaN as for [`variance`].
pub fn covariance(m: &Moments, sample: bool) -> Option<f64> {
    if m.n <= u64::from(sample) {
        return None;
    }
    if !m.is_finite() {
        return Some(f64::NAN);
    }
    let spread = cross(m.n, &m.xy, &m.x, &m.y);
    Some(spread.map_or(0.0, |s| scale(s.mantissa / degrees(m.n, sample), s.exponent)))
}

/// Pearson's correlation, in `-1.0..=1.0`. NULL for fewer than two pairs or if either side does not vary.
pub fn correlation(m: &Moments) -> Option<f64> {
    if m.n < 2 {
        return None;
    }
    if !m.is_finite() {
        return Some(f64::NAN);
    }
    let xx = cross(m.n, &m.xx, &m.x, &m.x)?;
    let yy = cross(m.n, &m.yy, &m.y, &m.y)?;
    let Some(xy) = cross(m.n, &m.xy, &m.x, &m.y) else { return Some(0.0) };
    let (mut product, mut exponent) = (xx.mantissa * yy.mantissa, xx.exponent + yy.exponent);
    if exponent & 1 != 0 {
        product *= 2.0;
        exponent -= 1;
    }
    Some(scale(xy.mantissa / product.sqrt(), xy.exponent - exponent / 2).clamp(-1.0, 1.0))
}

/// Slope of the least-squares line of y over x. NULL for fewer than two pairs or if x does not vary.
pub fn regression_slope(m: &Moments) -> Option<f64> {
    if m.n < 2 {
        return None;
    }
    if !m.is_finite() {
        return Some(f64::NAN);
    }
    let xx = cross(m.n, &m.xx, &m.x, &m.x)?;
    let xy = cross(m.n, &m.xy, &m.x, &m.y);
    Some(xy.map_or(0.0, |xy| scale(xy.mantissa / xx.mantissa, xy.exponent - xx.exponent)))
}

/// What n·Σxy − Σx·Σy is divided by.
#[inline]
fn degrees(n: u64, sample: bool) -> f64 {
    (u128::from(n) * u128::from(n - u64::from(sample))) as f64
}

/// A magnitude without the zeros at its ends.
#[derive(Clone, Copy)]
struct Number<'a> {
    negative: bool,
    at: i32,
    limbs: &'a [u64],
}

/// `n·products − a·b`, rounded to 53 bits; `None` is zero.
fn cross(n: u64, products: &ExactProducts, a: &ExactSum, b: &ExactSum) -> Option<Scaled> {
    fn number(negative: bool, base: i32, limbs: &[u64]) -> Number<'_> {
        let (at, limbs) = trim(base, limbs);
        Number { negative, at, limbs }
    }
    products.read(|negative, base, limbs| {
        let p = number(negative, base, limbs);
        a.read(|negative, base, limbs| {
            let first = number(negative, base, limbs);
            if std::ptr::eq(a, b) {
                return difference(n, p, first, first);
            }
            b.read(|negative, base, limbs| difference(n, p, first, number(negative, base, limbs)))
        })
    })
}

/// `n·p − a·b`
fn difference(n: u64, p: Number<'_>, a: Number<'_>, b: Number<'_>) -> Option<Scaled> {
    let ab_at = a.at + b.at;
    let (p_empty, ab_empty) = (p.limbs.is_empty(), a.limbs.is_empty() || b.limbs.is_empty());
    let low = match (p_empty, ab_empty) {
        (true, true) => return None,
        (true, false) => ab_at,
        (false, true) => p.at,
        (false, false) => p.at.min(ab_at),
    };
    let p_end = if p_empty { low } else { p.at + p.limbs.len() as i32 };
    let ab_end = if ab_empty { low } else { ab_at + (a.limbs.len() + b.limbs.len()) as i32 };
    // One limb for the factor n, one for the sign.
    let span = (p_end.max(ab_end) - low + 2) as usize;
    let mut stack = [0u64; 16];
    let mut heap = Vec::new();
    let total = match stack.get_mut(..span) {
        Some(total) => total,
        None => {
            heap.resize(span, 0);
            heap.as_mut_slice()
        }
    };
    if !p_empty {
        add_multiple(total, (p.at - low) as usize, p.limbs, n, p.negative);
    }
    if !ab_empty {
        for (i, &limb) in a.limbs.iter().enumerate() {
            add_multiple(total, (ab_at - low) as usize + i, b.limbs, limb, a.negative == b.negative);
        }
    }
    let negative = total.last().is_some_and(|&limb| (limb as i64) < 0);
    if negative {
        let mut carry = true;
        for limb in total.iter_mut() {
            (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
        }
    }
    round::top(total, 64 * low - 2148).map(|top| round::to_scaled(top, negative))
}

/// The limbs between the zeros at both ends, and where they start.
#[inline]
fn trim(base: i32, limbs: &[u64]) -> (i32, &[u64]) {
    let Some(low) = limbs.iter().position(|&limb| limb != 0) else { return (0, &[]) };
    let high = limbs.iter().rposition(|&limb| limb != 0).unwrap_or(low);
    (base + low as i32, limbs.get(low..=high).unwrap_or_default())
}

/// Adds `factor * limbs` (or subtracts it) at limb `at` of a two's complement integer.
#[inline]
fn add_multiple(total: &mut [u64], at: usize, limbs: &[u64], factor: u64, negative: bool) {
    let Some(total) = total.get_mut(at..) else { return };
    let mut high = 0u64;
    let mut carry = false;
    let mut slots = total.iter_mut();
    for &limb in limbs {
        let product = u128::from(limb) * u128::from(factor) + u128::from(high);
        high = (product >> 64) as u64;
        let Some(slot) = slots.next() else { return };
        (*slot, carry) = step(*slot, product as u64, carry, negative);
    }
    for slot in slots {
        (*slot, carry) = step(*slot, high, carry, negative);
        high = 0;
        if !carry {
            return;
        }
    }
}

#[inline]
fn step(slot: u64, part: u64, carry: bool, negative: bool) -> (u64, bool) {
    if negative { slot.borrowing_sub(part, carry) } else { slot.carrying_add(part, carry) }
}
