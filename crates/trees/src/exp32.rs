//! `exp` in float32 as the C library computes it that XGBoost calls (glibc since 2.27, and others that took over Arm's
//! optimized routines): the same table and polynomial, so the same bits on every platform, whatever its own library does.

/// Steps of the table between two powers of two.
const STEPS: u64 = 32;

/// `2^(i/32)` as float64 bits, less `i/32` of an exponent, which adding `k << 47` then brings back.
const TABLE: [u64; STEPS as usize] = [
    0x3ff0000000000000,
    0x3fefd9b0d3158574,
    0x3fefb5586cf9890f,
    0x3fef9301d0125b51,
    0x3fef72b83c7d517b,
    0x3fef54873168b9aa,
    0x3fef387a6e756238,
    0x3fef1e9df51fdee1,
    0x3fef06fe0a31b715,
    0x3feef1a7373aa9cb,
    0x3feedea64c123422,
    0x3feece086061892d,
    0x3feebfdad5362a27,
    0x3feeb42b569d4f82,
    0x3feeab07dd485429,
    0x3feea47eb03a5585,
    0x3feea09e667f3bcd,
    0x3fee9f75e8ec5f74,
    0x3feea11473eb0187,
    0x3feea589994cce13,
    0x3feeace5422aa0db,
    0x3feeb737b0cdc5e5,
    0x3feec49182a3f090,
    0x3feed503b23e255d,
    0x3feee89f995ad3ad,
    0x3feeff76f2fb5e47,
    0x3fef199bdd85529c,
    0x3fef3720dcef9069,
    0x3fef5818dcfba487,
    0x3fef7c97337b9b5f,
    0x3fefa4afa2a490da,
    0x3fefd0765b6e4540,
];

/// `e^x`.
pub(crate) fn exp32(x: f32) -> f32 {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52: adding it rounds to a whole number
    const INVERSE_LN2: f64 = std::f64::consts::LOG2_E * STEPS as f64;
    const C0: f64 = 0.05550361559341535 / (STEPS * STEPS * STEPS) as f64;
    const C1: f64 = 0.2402284522445722 / (STEPS * STEPS) as f64;
    const C2: f64 = 0.6931471806916203 / STEPS as f64;
    if x.is_nan() || x > 88.722_83 {
        return x + f32::INFINITY;
    }
    if x < -103.972_08 {
        return 0.0;
    }
    let z = INVERSE_LN2 * f64::from(x);
    let rounded = z + SHIFT;
    let k = rounded.to_bits();
    let r = z - (rounded - SHIFT);
    let scale = f64::from_bits(TABLE[(k % STEPS) as usize].wrapping_add(k << 47));
    let high = C0 * r + C1;
    let low = C2 * r + 1.0;
    ((high * (r * r) + low) * scale) as f32
}

#[cfg(test)]
mod tests {
    use super::exp32;

    /// The float64 function, rounded, is right but for rare ties: ours must be within one unit of it everywhere.
    #[test]
    fn it_is_exp() {
        for bits in (0..u32::MAX).step_by(9973) {
            let x = f32::from_bits(bits);
            let (seen, wanted) = (exp32(x), f64::from(x).exp() as f32);
            let near = seen.to_bits().abs_diff(wanted.to_bits()) <= 1;
            assert!(near || (seen.is_nan() && wanted.is_nan()), "exp({x:e}) is {wanted:e}, not {seen:e}");
        }
        for x in [88.72283f32, 88.72284, -103.97208, -103.97207, -87.4, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(exp32(x), f64::from(x).exp() as f32, "{x:e}");
        }
    }
}
