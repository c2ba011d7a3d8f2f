//! `exp` in float64 as CatBoost computes it, by a table and a short polynomial: close to the true one, and not the same.

use std::f64::consts::LN_2;
use std::sync::LazyLock;

/// Steps of the table between two powers of two, as a power of two.
const BITS: u32 = 11;
const STEPS: usize = 1 << BITS;
const MANTISSA: u64 = (1 << 52) - 1;

/// The mantissas of `2^(i/2048)`.
static TABLE: LazyLock<[u64; STEPS]> =
    LazyLock::new(|| std::array::from_fn(|step| 2f64.powf(step as f64 / STEPS as f64).to_bits() & MANTISSA));

/// Below this is 0.
const LEAST: f64 = -708.396_418_532_264_1;
/// Above this is infinity.
const GREATEST: f64 = 709.782_712_893_384;

/// `e^x`.
pub(crate) fn exp64(x: f64) -> f64 {
    if x <= LEAST {
        return 0.0;
    }
    if x >= GREATEST {
        return f64::INFINITY;
    }
    within(x)
}

/// `e^x` of several numbers. CatBoost takes four at once, and then ends short of 0 and of infinity.
pub(crate) fn exp64_each(numbers: &mut [f64]) {
    let (fours, rest) = numbers.as_chunks_mut::<4>();
    for x in fours.as_flattened_mut() {
        // Not `clamp`: NaN becomes the greatest number, as it does there.
        #[allow(clippy::manual_clamp)]
        let x_within = x.min(709.782_725_693_384).max(LEAST);
        *x = within(x_within);
    }
    rest.iter_mut().for_each(|x| *x = exp64(*x));
}

fn within(x: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52: adding it rounds to a whole number
    const ADJUST: u64 = (1 << (BITS + 10)) - (1 << BITS);
    const C2: f64 = 0.166_666_666_852_278_35;
    const C3: f64 = 3.000_000_002_795_539_4;
    let steps = STEPS as f64;
    let rounded = x * (steps / LN_2) + SHIFT;
    let bits = rounded.to_bits();
    let t = (rounded - SHIFT) * (LN_2 / steps) - x;
    let power = bits.wrapping_add(ADJUST) >> BITS << 52;
    let mantissa = TABLE.get(bits as usize % STEPS).copied().unwrap_or_default();
    ((C3 - t) * (t * t) * C2 - t + 1.0) * f64::from_bits(power | mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exp() {
        for step in -70_000..70_000 {
            let x = f64::from(step) / 100.0 + 1e-3;
            assert!((exp64(x) / x.exp() - 1.0).abs() < 1e-12, "{x}");
        }
        assert_eq!(exp64(0.0), 1.0);
        assert_eq!((exp64(-709.0), exp64(710.0)), (0.0, f64::INFINITY));
        assert!(exp64(f64::NAN).is_nan());
    }

    #[test]
    fn four_at_once_end_short() {
        let mut numbers = [f64::NEG_INFINITY; 6];
        exp64_each(&mut numbers);
        assert!(numbers[..4].iter().all(|&x| x > 0.0) && numbers[4..] == [0.0, 0.0]);
    }
}
