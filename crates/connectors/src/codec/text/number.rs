//! Numbers from their text, exactly.
//!
//! Integers and decimals never pass through a float, and floats are the nearest ones to the text (ties to
//! even): a number that fits is read without loss, and one that does not is refused.

/// Why a number is not a value of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// Beyond the least or greatest value.
    OutOfRange,
    /// Digits after the point that the type has no place for.
    Fraction,
}

/// A number as it stands in the text: `±mantissa · 10^exponent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a str,
    negative: bool,
    /// All digits without the point. Means nothing unless `exact`.
    mantissa: u64,
    exponent: i32,
    /// Whether `mantissa` and `exponent` hold the number: at most 19 digits.
    exact: bool,
}

/// Digits that always fit a `u64`.
const DIGITS_MAX: usize = 19;
/// Exponents are cut off here: far beyond every type, far from an overflow.
const EXPONENT_MAX: i32 = 1_000_000_000;

const POWERS_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
const POWERS_F32: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];

impl<'a> Number<'a> {
    /// Reads a JSON number at `start`. Gives it and where it ends; `None` if there is none.
    #[inline(always)]
    pub(crate) fn scan(text: &'a str, start: usize) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let mut at = start;
        let negative = bytes.get(at) == Some(&b'-');
        at += usize::from(negative);
        let first = at;
        let mut mantissa = 0u64;
        at = digits(bytes, at, &mut mantissa);
        let mut count = at - first;
        if count == 0 || (count > 1 && bytes.get(first) == Some(&b'0')) {
            return None;
        }
        let mut exponent = 0i32;
        if bytes.get(at) == Some(&b'.') {
            let point = at + 1;
            at = digits(bytes, point, &mut mantissa);
            let places = at - point;
            if places == 0 {
                return None;
            }
            count += places;
            exponent = -(places.min(EXPONENT_MAX as usize) as i32);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let (value, end) = scan_exponent(bytes, at + 1)?;
            exponent = exponent.saturating_add(value).clamp(-EXPONENT_MAX, EXPONENT_MAX);
            at = end;
        }
        let text = text.get(start..at)?;
        Some((Self { text, negative, mantissa, exponent, exact: count <= DIGITS_MAX }, at))
    }

    /// The number that is all of `text`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        Self::scan(text, 0).filter(|&(_, end)| end == text.len()).map(|(number, _)| number)
    }

    /// The nearest double. `-0` keeps its sign; what is too small becomes zero.
    #[inline]
    pub(crate) fn to_f64(self) -> Result<f64, NumberError> {
        // Both operands are exact, so that the one rounding of the operation is the only one (Clinger).
        if self.exact && self.mantissa <= 1 << 53 {
            let value = self.mantissa as f64;
            let power = POWERS_F64.get(self.exponent.unsigned_abs() as usize);
            if let Some(power) = power {
                let value = if self.exponent < 0 { value / power } else { value * power };
                return Ok(if self.negative { -value } else { value });
            }
        }
        self.text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(NumberError::OutOfRange)
    }

    /// The nearest single; rounded once, never by way of a double.
    pub(crate) fn to_f32(self) -> Result<f32, NumberError> {
        if self.exact && self.mantissa <= 1 << 24 {
            let value = self.mantissa as f32;
            let power = POWERS_F32.get(self.exponent.unsigned_abs() as usize);
            if let Some(power) = power {
                let value = if self.exponent < 0 { value / power } else { value * power };
                return Ok(if self.negative { -value } else { value });
            }
        }
        self.text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or(NumberError::OutOfRange)
    }

    /// The number as an integer between `min` and `max`; `1.0` and `1e3` are integers, `1.5` is none.
    #[inline]
    pub(crate) fn to_int(self, min: i64, max: i64) -> Result<i64, NumberError> {
        let value = if self.exact && self.exponent == 0 {
            let value = i128::from(self.mantissa);
            if self.negative { -value } else { value }
        } else {
            self.to_scaled(0)?
        };
        match i64::try_from(value) {
            Ok(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(NumberError::OutOfRange),
        }
    }

    /// The number as an unsigned integer.
    pub(crate) fn to_u64(self) -> Result<u64, NumberError> {
        u64::try_from(self.to_scaled(0)?).map_err(|_| NumberError::OutOfRange)
    }

    /// The number times `10^scale`, exactly; at most 38 digits.
    pub(crate) fn to_scaled(self, scale: u8) -> Result<i128, NumberError> {
        let (mut mantissa, mut exponent) = if self.exact {
            (u128::from(self.mantissa), i64::from(self.exponent))
        } else {
            self.long_digits().ok_or(NumberError::OutOfRange)?
        };
        if mantissa == 0 {
            return Ok(0);
        }
        exponent += i64::from(scale);
        while exponent < 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            exponent += 1;
        }
        if exponent < 0 {
            return Err(NumberError::Fraction);
        }
        let power = u32::try_from(exponent).ok().and_then(|e| 10u128.checked_pow(e));
        let value = power
            .and_then(|power| mantissa.checked_mul(power))
            .filter(|&value| value < 10u128.pow(38))
            .ok_or(NumberError::OutOfRange)?;
        let value = value as i128;
        Ok(if self.negative { -value } else { value })
    }

    /// The digits of a number that has more than 19, without the zeros around them. `None` if there are more
    /// than 38: no integer or decimal holds them.
    fn long_digits(self) -> Option<(u128, i64)> {
        let body = self.text.trim_start_matches('-');
        let body = body.split(['e', 'E']).next().unwrap_or_default();
        let all = body.bytes().filter(u8::is_ascii_digit).count();
        let mut digits: Vec<u8> = body.bytes().filter(u8::is_ascii_digit).skip_while(|&d| d == b'0').collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let zeros = (all - body.bytes().filter(u8::is_ascii_digit).take_while(|&d| d == b'0').count())
            .saturating_sub(digits.len());
        if digits.len() > 38 {
            return None;
        }
        let mantissa = digits.iter().fold(0u128, |value, digit| value * 10 + u128::from(digit - b'0'));
        Some((mantissa, i64::from(self.exponent) + zeros as i64))
    }
}

/// Reads digits from `at` on, adds them to `value` (wrapping: the caller counts), gives where they end.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let Some(number) = eight_digits(u64::from_le_bytes(*eight)) else { break };
        *value = value.wrapping_mul(100_000_000).wrapping_add(number);
        at += 8;
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// The value of eight ASCII digits, the first in the lowest byte.
#[inline(always)]
fn eight_digits(word: u64) -> Option<u64> {
    let high = word & 0xF0F0_F0F0_F0F0_F0F0;
    let carried = word.wrapping_add(0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0;
    if high != 0x3030_3030_3030_3030 || carried != 0x3030_3030_3030_3030 {
        return None;
    }
    let pairs = (word & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00FF_00FF_00FF_00FF).wrapping_mul(6_553_601) >> 16;
    Some((fours & 0x0000_FFFF_0000_FFFF).wrapping_mul(42_949_672_960_001) >> 32)
}

fn scan_exponent(bytes: &[u8], mut at: usize) -> Option<(i32, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let first = at;
    let mut value = 0i32;
    while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i32::from(digit - b'0')).min(EXPONENT_MAX);
        at += 1;
    }
    (at > first).then_some((if negative { -value } else { value }, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_grammar_is_that_of_json() {
        for good in
            ["0", "-0", "10", "1.5", "0.001", "1e3", "1E-3", "1.5e+300", "-0.0", "123456789012345678901234567890"]
        {
            assert!(Number::parse(good).is_some(), "{good}");
        }
        for bad in [
            "", "-", "01", "-01", "00", "1.", ".5", "+1", "1e", "1e+", "NaN", "Infinity", "0x1", "1_0", "1 ", " 1", "٣",
        ] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn integers_are_exact() {
        let int = |text: &str| number(text).to_int(i64::MIN, i64::MAX);
        assert_eq!(int("9007199254740993"), Ok(9_007_199_254_740_993));
        assert_eq!(int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(int("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(int("9223372036854775808"), Err(NumberError::OutOfRange));
        assert_eq!(int("1.0"), Ok(1));
        assert_eq!(int("-0"), Ok(0));
        assert_eq!(int("1e3"), Ok(1000));
        assert_eq!(int("1200e-2"), Ok(12));
        assert_eq!(int("1.5"), Err(NumberError::Fraction));
        assert_eq!(int("1e-1"), Err(NumberError::Fraction));
        assert_eq!(int("0e999999999999"), Ok(0));
        assert_eq!(int("1e999999999999"), Err(NumberError::OutOfRange));
        assert_eq!(int("1.00000000000000000000000000000000000000000000000000"), Ok(1));
        assert_eq!(int("0.00000000000000000000000000000000000000000000000001e50"), Ok(1));
        assert_eq!(int("100000000000000000000000000000000000000e-38"), Ok(1));
        assert_eq!(number("18446744073709551615").to_u64(), Ok(u64::MAX));
        assert_eq!(number("18446744073709551616").to_u64(), Err(NumberError::OutOfRange));
        assert_eq!(number("-1").to_u64(), Err(NumberError::OutOfRange));
        assert_eq!(number("128").to_int(-128, 127), Err(NumberError::OutOfRange));
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let cents = |text: &str| number(text).to_scaled(2);
        assert_eq!(cents("0.1"), Ok(10));
        assert_eq!(cents("-12.34"), Ok(-1234));
        assert_eq!(cents("0.100"), Ok(10));
        assert_eq!(cents("0.105"), Err(NumberError::Fraction));
        assert_eq!(cents("1e2"), Ok(10_000));
        assert_eq!(
            number("12345678901234567890123456789012345678").to_scaled(0),
            Ok(12345678901234567890123456789012345678)
        );
        assert_eq!(number("100000000000000000000000000000000000000").to_scaled(0), Err(NumberError::OutOfRange));
    }

    #[test]
    fn floats_at_the_edges() {
        assert_eq!(number("-0").to_f64().map(f64::to_bits), Ok((-0.0f64).to_bits()));
        assert_eq!(number("1e400").to_f64(), Err(NumberError::OutOfRange));
        assert_eq!(number("1e-400").to_f64(), Ok(0.0));
        assert_eq!(number("9007199254740993").to_f64(), Ok(9_007_199_254_740_992.0));
        assert_eq!(number("1e39").to_f32(), Err(NumberError::OutOfRange));
        // By way of a double this one is rounded twice, to 1.0.
        assert_eq!(number("1.000000059604644775390625000000001").to_f32(), Ok(1.0 + f32::EPSILON));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn every_double_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [zmij::Buffer::new().format(value).to_owned(), format!("{value:e}"), format!("{value:.20e}")] {
                prop_assert_eq!(number(&text).to_f64().map(f64::to_bits), Ok(value.to_bits()), "{}", text);
            }
        }

        #[test]
        fn short_decimals_read_like_the_standard_library(mantissa in 0u64..1 << 60, exponent in -40i32..40) {
            let text = format!("{mantissa}e{exponent}");
            prop_assert_eq!(number(&text).to_f64().ok(), text.parse::<f64>().ok());
            prop_assert_eq!(number(&text).to_f32().ok(), text.parse::<f32>().ok().filter(|v| v.is_finite()));
        }

        #[test]
        fn integers_read_back(value: i64, zeros in 0usize..30) {
            let plain = value.to_string();
            prop_assert_eq!(number(&plain).to_int(i64::MIN, i64::MAX), Ok(value));
            let long = format!("{value}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(number(&long).to_int(i64::MIN, i64::MAX), Ok(value));
        }
    }
}
