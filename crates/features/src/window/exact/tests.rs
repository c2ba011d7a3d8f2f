//! Exact arithmetic against big integers and against Rust's own parser, which rounds decimal strings of any
//! length correctly.

use num_bigint::BigInt;
use proptest::prelude::*;

use super::{ExactProducts, ExactSum, Moments, correlation, covariance, regression_slope, variance};
use millstream_core::{StateReader, StateWriter};

/// A double in units of 2^-1074.
fn units(x: f64) -> BigInt {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as usize;
    let mantissa = bits & ((1 << 52) - 1) | u64::from(exponent != 0) << 52;
    let magnitude = BigInt::from(mantissa) << exponent.saturating_sub(1);
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

/// `n * 2^-power / (2^twos * 5^fives)`, rounded once.
fn rounded(n: &BigInt, power: u32, twos: u32, fives: u32) -> f64 {
    let digits = n * BigInt::from(5).pow(power + twos) * BigInt::from(2).pow(fives);
    let value: f64 = format!("{digits}e-{}", power + twos + fives).parse().unwrap();
    if value == 0.0 { 0.0 } else { value }
}

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>().prop_filter("finite", |x| x.is_finite()),
        3 => -1e4..1e4f64,
        2 => (0i64..1_000_000).prop_map(|cents| cents as f64 / 100.0),
        1 => (0u64..1 << 53).prop_map(f64::from_bits),
        1 => prop_oneof![Just(1e308), Just(-1e308), Just(f64::MAX), Just(5e-324), Just(-0.0), Just(1e16), Just(-1e16)],
    ]
}

/// Additions, each perhaps taken back later.
fn history() -> impl Strategy<Value = Vec<(f64, Option<usize>)>> {
    prop::collection::vec((any_double(), prop::option::of(0usize..40)), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_exact(history in history(), twos in 0u32..40, fives in 0u32..6) {
        let mut sum = ExactSum::default();
        let mut expected = BigInt::from(0);
        let mut left: Vec<f64> = Vec::new();
        for (x, back) in history {
            sum.add(x);
            expected += units(x);
            left.push(x);
            if let Some(at) = back.filter(|&at| at < left.len()) {
                let y = left.swap_remove(at);
                sum.subtract(y);
                expected -= units(y);
            }
            prop_assert_eq!(sum.value().to_bits(), rounded(&expected, 1074, 0, 0).to_bits());
        }
        let n = 2u64.pow(twos) * 5u64.pow(fives);
        prop_assert_eq!(sum.mean(n).to_bits(), rounded(&expected, 1074, twos, fives).to_bits());
        let mut state = StateWriter::new();
        sum.snapshot(&mut state);
        let restored = ExactSum::restore(&mut StateReader::new(state.as_slice())).unwrap();
        prop_assert_eq!(restored.value().to_bits(), sum.value().to_bits());
        // The order and the history don't matter.
        let mut anew = ExactSum::default();
        left.iter().rev().for_each(|&x| anew.add(x));
        prop_assert_eq!(anew.value().to_bits(), sum.value().to_bits());
    }

    #[test]
    fn sums_of_products_are_exact(pairs in prop::collection::vec((any_double(), any_double()), 0..30)) {
        let mut sum = ExactProducts::default();
        let mut expected = BigInt::from(0);
        for (i, &(x, y)) in pairs.iter().enumerate() {
            sum.add(x, y);
            expected += units(x) * units(y);
            if i % 3 == 0 {
                let (x, y) = pairs[i / 2];
                sum.subtract(x, y);
                expected -= units(x) * units(y);
            }
            prop_assert_eq!(sum.value().to_bits(), rounded(&expected, 2148, 0, 0).to_bits());
        }
    }

    #[test]
    fn variances_are_exact_before_the_last_two_roundings(values in prop::collection::vec(any_double(), 2..30)) {
        let mut m = Moments::default();
        values.iter().for_each(|&x| m.add(x, x));
        let n = values.len() as u64;
        let sum: BigInt = values.iter().map(|&x| units(x)).sum();
        let squares: BigInt = values.iter().map(|&x| units(x) * units(x)).sum();
        let cross = BigInt::from(n) * squares - &sum * &sum;
        let expected = rounded(&cross, 2148, 0, 0) / (n * n) as f64;
        let got = variance(n, &m.x, &m.xx, false, false).unwrap();
        prop_assert!(got == expected || (got - expected).abs() <= 4.0 * f64::EPSILON * expected
            || expected == f64::INFINITY && got > f64::MAX / 1e4 || got.max(expected) < 1e-300, "{got} {expected}");
        prop_assert_eq!(covariance(&m, false), Some(got));
        let root = variance(n, &m.x, &m.xx, false, true).unwrap();
        if got > 1e-290 && got < f64::MAX {
            prop_assert!((root - got.sqrt()).abs() <= 4.0 * f64::EPSILON * root);
        }
    }

    #[test]
    fn equal_values_do_not_vary(x in any_double(), n in 1u64..200) {
        let (mut sum, mut squares) = (ExactSum::default(), ExactProducts::default());
        for y in [1e300, 3.3, -7e-200] {
            sum.add(y);
            squares.add(y, y);
        }
        for _ in 0..n {
            sum.add(x);
            squares.add(x, x);
        }
        for y in [3.3, 1e300, -7e-200] {
            sum.subtract(y);
            squares.subtract(y, y);
        }
        prop_assert_eq!(sum.mean(n), x, "the mean of equal values is that value");
        prop_assert_eq!(variance(n, &sum, &squares, false, true), Some(0.0));
        prop_assert_eq!(variance(n, &sum, &squares, true, false), if n > 1 { Some(0.0) } else { None });
    }
}

#[test]
fn specials_come_and_go() {
    let mut sum = ExactSum::default();
    sum.add(1.5);
    sum.add(f64::INFINITY);
    assert_eq!(sum.value(), f64::INFINITY);
    sum.add(f64::NEG_INFINITY);
    assert!(sum.value().is_nan());
    sum.subtract(f64::INFINITY);
    assert_eq!(sum.mean(3), f64::NEG_INFINITY);
    sum.add(f64::NAN);
    sum.subtract(f64::NEG_INFINITY);
    assert!(sum.value().is_nan());
    sum.subtract(f64::NAN);
    assert_eq!(sum.value(), 1.5);
}

#[test]
fn zeros_have_no_sign_and_sums_overflow_to_infinity() {
    let mut sum = ExactSum::default();
    sum.add(-0.0);
    assert_eq!(sum.value().to_bits(), 0);
    sum.add(f64::MAX);
    sum.add(f64::MAX);
    assert_eq!(sum.value(), f64::INFINITY);
    assert_eq!(sum.mean(2), f64::MAX, "the mean is in range all the same");
    sum.subtract(f64::MAX);
    assert_eq!(sum.value(), f64::MAX);
}

#[test]
fn huge_and_tiny_values_have_a_deviation() {
    for scale in [1e200, 1e-200, 1e300, 1e-300] {
        let mut m = Moments::default();
        [1.0, 2.0, 3.0, 4.0].iter().for_each(|x| m.add(2.0 * x * scale, x * scale));
        let deviation = variance(m.n, &m.x, &m.xx, false, true).unwrap();
        assert!((deviation / scale - 1.25f64.sqrt()).abs() < 1e-15, "{deviation}");
        assert_eq!(correlation(&m), Some(1.0));
        assert!((regression_slope(&m).unwrap() - 2.0).abs() < 1e-15);
    }
}

#[test]
fn a_line_that_does_not_rise_has_no_slope() {
    let mut m = Moments::default();
    assert_eq!(correlation(&m), None);
    m.add(1.0, 5.0);
    assert_eq!((correlation(&m), regression_slope(&m), covariance(&m, true)), (None, None, None));
    assert_eq!(covariance(&m, false), Some(0.0));
    m.add(2.0, 5.0);
    assert_eq!((correlation(&m), regression_slope(&m)), (None, None));
    m.add(2.0, f64::NAN);
    assert!(correlation(&m).unwrap().is_nan());
}
