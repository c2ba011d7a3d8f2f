//! From big integers to doubles, rounding once, to nearest and ties to even.

/// Exponent of the least bit of a double.
const LEAST: i32 = -1074;

/// A positive number as `mantissa * 2^exponent`, rounded to 53 bits but with no limit to the exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    /// An integer below or equal to 2^53 in magnitude; carries the sign.
    pub mantissa: f64,
    /// The power of two.
    pub exponent: i32,
}

/// The most significant bits of a big integer.
#[derive(Clone, Copy, Debug)]
pub struct Top {
    /// The uppermost bits; the highest bit is set unless the whole number is shorter.
    pub bits: u128,
    /// The power of two of the lowest bit of `bits`.
    pub exponent: i32,
    /// Whether any bit below `bits` is set.
    pub sticky: bool,
}

/// The top 128 bits of a magnitude whose limb 0 has the weight `2^exponent`; `None` is zero.
pub fn top(limbs: &[u64], exponent: i32) -> Option<Top> {
    let high = limbs.iter().rposition(|&limb| limb != 0)?;
    let limb = |back: usize| if back <= high { limbs[high - back] } else { 0 };
    let (a, b, c) = (limb(0), limb(1), limb(2));
    let shift = a.leading_zeros();
    let mut bits = u128::from(a) << 64 | u128::from(b);
    let mut sticky = c != 0;
    if shift > 0 {
        bits = bits << shift | u128::from(c >> (64 - shift));
        sticky = c << shift != 0;
    }
    sticky |= high >= 3 && limbs[..high - 2].iter().any(|&limb| limb != 0);
    Some(Top { bits, exponent: exponent + 64 * (high as i32 - 1) - shift as i32, sticky })
}

/// Rounds to 53 significant bits, whatever the exponent.
pub fn to_scaled(top: Top, negative: bool) -> Scaled {
    let drop = (75 - top.bits.leading_zeros() as i32).max(0) as u32;
    let mantissa = round_off(top.bits, drop, top.sticky) as f64;
    Scaled { mantissa: if negative { -mantissa } else { mantissa }, exponent: top.exponent + drop as i32 }
}

/// Rounds to a double: to 53 bits, fewer where the result is subnormal.
pub fn to_f64(top: Top, negative: bool) -> f64 {
    let significant = 75 - top.bits.leading_zeros() as i32;
    let drop = significant.max(LEAST - top.exponent).max(0) as u32;
    let magnitude = scale(round_off(top.bits, drop, top.sticky) as f64, top.exponent + drop as i32);
    // A zero that was rounded to has no sign, like any other zero here.
    if negative && magnitude != 0.0 { -magnitude } else { magnitude }
}

/// `bits >> drop`, rounded to nearest, ties to even. The result has at most 54 bits.
#[inline]
fn round_off(bits: u128, drop: u32, sticky: bool) -> u64 {
    if drop == 0 {
        return bits as u64;
    }
    if drop > 128 {
        return 0;
    }
    let kept = bits.checked_shr(drop).unwrap_or(0) as u64;
    let half = 1u128 << (drop - 1);
    let rest = bits & ((half - 1) | half);
    let up = rest > half || rest == half && (sticky || kept & 1 == 1);
    kept + u64::from(up)
}

/// `value * 2^exponent` for a `value` of at most 2^107 in magnitude; exact wherever a double can be.
#[inline]
pub fn scale(value: f64, exponent: i32) -> f64 {
    let power = |e: i32| f64::from_bits(((e + 1023) as u64) << 52);
    if (-1022..=1023).contains(&exponent) {
        return value * power(exponent);
    }
    let exponent = exponent.clamp(-2000, 2000);
    let first = exponent / 2;
    value * power(first) * power(exponent - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even_and_sticky_bits_break_them() {
        let at = |bits, sticky| to_f64(Top { bits, exponent: 0, sticky }, false);
        assert_eq!(at((1 << 53) + 1, false), 9_007_199_254_740_992.0);
        assert_eq!(at((1 << 53) + 1, true), 9_007_199_254_740_994.0);
        assert_eq!(at((1 << 53) + 3, false), 9_007_199_254_740_996.0);
        assert_eq!(at(u128::MAX, true), 2f64.powi(128));
    }

    #[test]
    fn subnormals_and_overflow() {
        let at = |bits, exponent| to_f64(Top { bits, exponent, sticky: false }, true);
        assert_eq!(at(1, -1074), -f64::from_bits(1));
        assert_eq!(at(1, -1075), -0.0);
        assert_eq!(at(3, -1075), -f64::from_bits(2));
        assert_eq!(at(3, -1076), -f64::from_bits(1));
        assert_eq!(at(1 << 127, -3000), -0.0);
        assert_eq!(at(1, 1024), f64::NEG_INFINITY);
        assert_eq!(at((1 << 53) - 1, 971), -f64::MAX);
    }
}
