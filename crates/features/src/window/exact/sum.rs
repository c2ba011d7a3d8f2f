//! The accumulators: [`ExactSum`] of doubles and [`ExactProducts`] of products of two doubles.

use millstream_core::error::Result;
use millstream_core::{StateReader, StateWriter};

use super::round::{self, Top};

/// Limbs that hold any sum of fewer than 2^63 products of doubles: 2 * 2046 + 106 + 63 bits and a sign.
const WIDE: usize = 68;

/// The base of a sum that has seen nothing: far from every double, so that the first one sets it.
const UNSET: i32 = i32::MIN / 2;

const FRACTION: u64 = (1 << 52) - 1;

/// An exact sum of products `x * y`.
pub type ExactProducts = Exact<5, 3, -2148>;
/// An exact sum of doubles.
pub type ExactSum = Exact<4, 2, -1074>;

/// A two's complement integer in units of `2^UNIT`, in `N` limbs that float to where the data are.
///
/// Limb `i` weighs `2^(64 * (base + i))` units. A term reaches over at most `TERM` limbs; if these lie in the
/// window with at least one limb above for carries, adding it is a few instructions. Otherwise the window moves
/// (if the value leaves room), or the sum changes to a form that holds every double there is, until it fits
/// again. The form never shows in a result.
///
/// The limb for carries grows by at most one a term, and a move demands 16 free bits in it: it can't overflow
/// before 2^47 terms were added in a row.
#[derive(Clone, Debug)]
pub struct Exact<const N: usize, const TERM: usize, const UNIT: i32> {
    limbs: [u64; N],
    base: i32,
    rare: Option<Box<Rare>>,
}

/// What most sums never need.
#[derive(Clone, Debug, Default)]
struct Rare {
    nan: u64,
    positive_infinity: u64,
    negative_infinity: u64,
    wide: Option<Box<[u64; WIDE]>>,
}

impl<const N: usize, const TERM: usize, const UNIT: i32> Default for Exact<N, TERM, UNIT> {
    fn default() -> Self {
        Self { limbs: [0; N], base: UNSET, rare: None }
    }
}

impl ExactSum {
    /// Adds a double, exactly.
    #[inline]
    pub fn add(&mut self, x: f64) {
        self.put(x, false);
    }

    /// Takes back a double that was added.
    #[inline]
    pub fn subtract(&mut self, x: f64) {
        self.put(x, true);
    }

    #[inline]
    fn put(&mut self, x: f64, remove: bool) {
        let bits = x.to_bits();
        let exponent = (bits >> 52) as i32 & 0x7ff;
        if exponent == 0x7ff {
            return self.put_special(x, remove);
        }
        let mantissa = bits & FRACTION | u64::from(exponent != 0) << 52;
        self.put_term(u128::from(mantissa), (exponent - 1).max(0), (bits >> 63 != 0) ^ remove);
    }
}

impl ExactProducts {
    /// Adds `x * y`, exactly.
    #[inline]
    pub fn add(&mut self, x: f64, y: f64) {
        self.put(x, y, false);
    }

    /// Takes back a product that was added.
    #[inline]
    pub fn subtract(&mut self, x: f64, y: f64) {
        self.put(x, y, true);
    }

    #[inline]
    fn put(&mut self, x: f64, y: f64, remove: bool) {
        let (a, b) = (x.to_bits(), y.to_bits());
        let (ea, eb) = ((a >> 52) as i32 & 0x7ff, (b >> 52) as i32 & 0x7ff);
        if ea == 0x7ff || eb == 0x7ff {
            return self.put_special(x * y, remove);
        }
        let ma = a & FRACTION | u64::from(ea != 0) << 52;
        let mb = b & FRACTION | u64::from(eb != 0) << 52;
        let position = (ea - 1).max(0) + (eb - 1).max(0);
        self.put_term(u128::from(ma) * u128::from(mb), position, ((a ^ b) >> 63 != 0) ^ remove);
    }
}

/// `mantissa << shift` in three limbs, for a mantissa of at most 106 bits and a shift below 64.
#[inline]
fn spread(mantissa: u128, shift: u32) -> [u64; 3] {
    let low = mantissa << shift;
    let high = if shift == 0 { 0 } else { (mantissa >> (128 - shift)) as u64 };
    [low as u64, (low >> 64) as u64, high]
}

/// Adds (or subtracts) `parts` at limb `at`, with carries up to the end of `limbs`, where they vanish.
#[inline]
fn accumulate(limbs: &mut [u64], at: usize, parts: &[u64], negative: bool) {
    let Some(limbs) = limbs.get_mut(at..) else { return };
    let mut carry = false;
    let (near, far) = limbs.split_at_mut(parts.len().min(limbs.len()));
    if negative {
        for (limb, &part) in near.iter_mut().zip(parts) {
            (*limb, carry) = limb.borrowing_sub(part, carry);
        }
        for limb in far {
            (*limb, carry) = limb.overflowing_sub(u64::from(carry));
        }
    } else {
        for (limb, &part) in near.iter_mut().zip(parts) {
            (*limb, carry) = limb.carrying_add(part, carry);
        }
        for limb in far {
            (*limb, carry) = limb.overflowing_add(u64::from(carry));
        }
    }
}

/// The same for a place that is known when compiling, so that the loops unroll.
#[inline(always)]
fn accumulate_at<const AT: usize, const N: usize, const TERM: usize>(
    limbs: &mut [u64; N],
    parts: &[u64; 3],
    negative: bool,
) {
    let mut carry = false;
    if negative {
        for i in 0..N - AT {
            let part = if i < TERM { parts[i] } else { 0 };
            (limbs[AT + i], carry) = limbs[AT + i].borrowing_sub(part, carry);
        }
    } else {
        for i in 0..N - AT {
            let part = if i < TERM { parts[i] } else { 0 };
            (limbs[AT + i], carry) = limbs[AT + i].carrying_add(part, carry);
        }
    }
}

/// Negates a two's complement integer.
fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
    }
}

/// The limbs that matter: from the first that is not zero to the last that is not mere sign, whose upper
/// 16 bits are sign. `None` is zero.
fn extent(limbs: &[u64]) -> Option<(usize, usize)> {
    let low = limbs.iter().position(|&limb| limb != 0)?;
    let sign = limbs.last().map_or(0, |&limb| ((limb as i64) >> 63) as u64);
    let mut high = limbs.iter().rposition(|&limb| limb != sign).unwrap_or(low).max(low);
    if let Some(&limb) = limbs.get(high)
        && ((limb as i64) >> 47) as u64 != sign
    {
        high += 1;
    }
    Some((low, high))
}

impl<const N: usize, const TERM: usize, const UNIT: i32> Exact<N, TERM, UNIT> {
    #[inline]
    fn put_term(&mut self, mantissa: u128, position: i32, negative: bool) {
        let at = (position >> 6) - self.base;
        if self.rare.is_none() && (at as u32) < (N - TERM) as u32 {
            let parts = spread(mantissa, (position & 63) as u32);
            // With `N` and `TERM` as they are, a term starts at one of two limbs.
            if at == 0 {
                accumulate_at::<0, N, TERM>(&mut self.limbs, &parts, negative);
            } else {
                accumulate_at::<1, N, TERM>(&mut self.limbs, &parts, negative);
            }
        } else if mantissa != 0 {
            self.put_slowly(mantissa, position, negative);
        }
    }

    #[cold]
    fn put_special(&mut self, x: f64, remove: bool) {
        let rare = self.rare.get_or_insert_default();
        let count = if x.is_nan() {
            &mut rare.nan
        } else if x > 0.0 {
            &mut rare.positive_infinity
        } else {
            &mut rare.negative_infinity
        };
        *count = if remove { count.saturating_sub(1) } else { *count + 1 };
        self.tidy();
    }

    /// Drops the rare part when nothing in it is needed.
    fn tidy(&mut self) {
        if let Some(rare) = &self.rare
            && rare.wide.is_none()
            && rare.nan + rare.positive_infinity + rare.negative_infinity == 0
        {
            self.rare = None;
        }
    }

    fn put_slowly(&mut self, mantissa: u128, position: i32, negative: bool) {
        let parts = spread(mantissa, (position & 63) as u32);
        let limb = position >> 6;
        if let Some(wide) = self.rare.as_mut().and_then(|rare| rare.wide.as_mut()) {
            accumulate(wide.as_mut_slice(), limb as usize, &parts, negative);
            self.narrow();
        } else {
            if !self.make_room(limb, position & 63) {
                return self.widen(&parts, limb, negative);
            }
            accumulate(&mut self.limbs, (limb - self.base) as usize, &parts[..TERM], negative);
        }
    }

    /// Moves the window so that a term at `limb` fits beside the value, if it can.
    fn make_room(&mut self, limb: i32, shift: i32) -> bool {
        let at = limb - self.base;
        if (at as u32) < (N - TERM) as u32 {
            return true;
        }
        let (mut low, mut high) = (limb, limb + TERM as i32);
        let value = extent(&self.limbs);
        if let Some((first, last)) = value {
            low = low.min(self.base + first as i32);
            high = high.max(self.base + last as i32);
        }
        let slack = N as i32 - 1 - (high - low);
        if slack < 0 {
            return false;
        }
        // The spare limbs go to both sides; an odd one to where the term is nearer to the edge.
        let base = low - if shift < 32 { (slack + 1) / 2 } else { slack / 2 };
        let mut limbs = [0; N];
        if value.is_some() {
            let sign = ((self.limbs[N - 1] as i64) >> 63) as u64;
            for (i, limb) in limbs.iter_mut().enumerate() {
                let from = base + i as i32 - self.base;
                *limb = if from < 0 { 0 } else { self.limbs.get(from as usize).copied().unwrap_or(sign) };
            }
        }
        (self.limbs, self.base) = (limbs, base);
        true
    }

    #[cold]
    fn widen(&mut self, parts: &[u64; 3], limb: i32, negative: bool) {
        let mut wide = Box::new([0u64; WIDE]);
        let sign = ((self.limbs[N - 1] as i64) >> 63) as u64;
        for (i, slot) in wide.iter_mut().enumerate() {
            let from = i as i32 - self.base;
            *slot = if from < 0 { 0 } else { self.limbs.get(from as usize).copied().unwrap_or(sign) };
        }
        accumulate(wide.as_mut_slice(), limb as usize, parts, negative);
        (self.limbs, self.base) = ([0; N], UNSET);
        self.rare.get_or_insert_default().wide = Some(wide);
    }

    /// Goes back to the window if the value fits it with a limb to spare.
    fn narrow(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        let Some(wide) = &rare.wide else { return };
        match extent(wide.as_slice()) {
            None => (self.limbs, self.base) = ([0; N], UNSET),
            Some((low, high)) if high - low + 2 <= N => {
                let sign = ((wide[WIDE - 1] as i64) >> 63) as u64;
                for (i, limb) in self.limbs.iter_mut().enumerate() {
                    *limb = wide.get(low + i).copied().unwrap_or(sign);
                }
                self.base = low as i32;
            }
            Some(_) => return,
        }
        rare.wide = None;
        self.tidy();
    }

    /// NaN or an infinity, if the sum is one for having met one.
    #[inline]
    pub fn special(&self) -> Option<f64> {
        let rare = self.rare.as_ref()?;
        if rare.nan > 0 || rare.positive_infinity > 0 && rare.negative_infinity > 0 {
            Some(f64::NAN)
        } else if rare.positive_infinity > 0 {
            Some(f64::INFINITY)
        } else if rare.negative_infinity > 0 {
            Some(f64::NEG_INFINITY)
        } else {
            None
        }
    }

    /// Gives the finite part to `read`: its sign, its base, and the limbs of its magnitude.
    #[inline(always)]
    pub(super) fn read<R>(&self, read: impl FnOnce(bool, i32, &[u64]) -> R) -> R {
        if let Some(wide) = self.rare.as_ref().and_then(|rare| rare.wide.as_ref()) {
            let mut limbs = **wide;
            let negative = (limbs[WIDE - 1] as i64) < 0;
            if negative {
                negate(&mut limbs);
            }
            return read(negative, 0, &limbs);
        }
        let mut limbs = self.limbs;
        let negative = (limbs[N - 1] as i64) < 0;
        if negative {
            negate(&mut limbs);
        }
        read(negative, self.base, &limbs)
    }

    /// The uppermost bits of the finite part and its sign; `None` is zero.
    #[inline]
    fn top(&self) -> Option<(Top, bool)> {
        if self.rare.is_some() {
            return self.read(|negative, base, limbs| Some((round::top(limbs, 64 * base + UNIT)?, negative)));
        }
        let mut limbs = self.limbs;
        let negative = (limbs[N - 1] as i64) < 0;
        if negative {
            negate(&mut limbs);
        }
        // As `round::top`, for so few limbs that loops unroll.
        let mut high = N - 1;
        while high > 0 && limbs[high] == 0 {
            high -= 1;
        }
        let limb = |back: usize| if back <= high { limbs[high - back] } else { 0 };
        let (a, b, c) = (limb(0), limb(1), limb(2));
        if a == 0 {
            return None;
        }
        let shift = a.leading_zeros();
        let (low, carried) = (c << shift, if shift == 0 { 0 } else { c >> (64 - shift) });
        let bits = (u128::from(a) << 64 | u128::from(b)) << shift | u128::from(carried);
        let mut sticky = low != 0;
        for (i, &limb) in limbs.iter().enumerate() {
            sticky |= i + 2 < high && limb != 0;
        }
        let exponent = UNIT + 64 * (self.base + high as i32 - 1) - shift as i32;
        Some((Top { bits, exponent, sticky }, negative))
    }

    /// The sum, rounded once to the nearest double (ties to even). A sum of zeros of any sign is `0.0`;
    /// beyond the greatest double it is infinite.
    #[inline]
    pub fn value(&self) -> f64 {
        if let Some(special) = self.special() {
            return special;
        }
        self.top().map_or(0.0, |(top, negative)| round::to_f64(top, negative))
    }

    /// The sum divided by `n`, rounded once: the mean of equal values is that value. `n` is not 0.
    #[inline]
    pub fn mean(&self, n: u64) -> f64 {
        if let Some(special) = self.special() {
            return special;
        }
        self.top().map_or(0.0, |(top, negative)| round::to_f64(divide(top, n.max(1)), negative))
    }

    /// Writes the value; its form does not show.
    pub fn snapshot(&self, out: &mut StateWriter) {
        let (nan, positive, negative) =
            self.rare.as_ref().map_or((0, 0, 0), |r| (r.nan, r.positive_infinity, r.negative_infinity));
        out.u64(nan);
        out.u64(positive);
        out.u64(negative);
        self.read(|negative, base, limbs| {
            let low = limbs.iter().position(|&limb| limb != 0).unwrap_or(0);
            let high = limbs.iter().rposition(|&limb| limb != 0).map_or(low, |high| high + 1);
            out.bool(negative);
            out.i64(if high > low { i64::from(base) + low as i64 } else { 0 });
            out.u64((high - low) as u64);
            limbs.get(low..high).unwrap_or_default().iter().for_each(|&limb| out.u64(limb));
        });
    }

    /// Reads what [`Exact::snapshot`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn restore(state: &mut StateReader<'_>) -> Result<Self> {
        let (nan, positive_infinity, negative_infinity) = (state.u64()?, state.u64()?, state.u64()?);
        let negative = state.bool()?;
        let low = state.i64()?.clamp(0, WIDE as i64) as usize;
        let mut wide = Box::new([0u64; WIDE]);
        for i in 0..state.len(8)? {
            let limb = state.u64()?;
            if let Some(slot) = wide.get_mut(low + i) {
                *slot = limb;
            }
        }
        if negative {
            negate(wide.as_mut_slice());
        }
        let rare = Rare { nan, positive_infinity, negative_infinity, wide: Some(wide) };
        let mut sum = Self { limbs: [0; N], base: UNSET, rare: Some(Box::new(rare)) };
        sum.narrow();
        Ok(sum)
    }
}

/// Divides, keeping at least 64 significant bits and whether anything is left.
#[inline]
fn divide(top: Top, n: u64) -> Top {
    if n == 1 {
        return top;
    }
    let (high, low) = ((top.bits >> 64) as u64, top.bits as u64);
    if n >> 32 != 0 {
        let divisor = u128::from(n);
        let sticky = top.sticky || !top.bits.is_multiple_of(divisor);
        return Top { bits: top.bits / divisor, exponent: top.exponent, sticky };
    }
    // Two divisions of one limb each: the highest bit of `high` is set, so the quotient keeps 64 bits.
    let rest = (high % n) << 32 | low >> 32;
    let bits = u128::from(high / n) << 32 | u128::from(rest / n);
    let sticky = top.sticky || !rest.is_multiple_of(n) || low << 32 != 0;
    Top { bits, exponent: top.exponent + 32, sticky }
}
