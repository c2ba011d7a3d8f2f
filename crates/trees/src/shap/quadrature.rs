//! Gauss-Legendre quadrature on (0, 1).

/// The points and weights of the rule with `count` points, which integrates polynomials of degree up to `2·count - 1`
/// exactly.
pub(super) fn rule(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    (0..count)
        .map(|index| {
            // Newton's method on the Legendre polynomial, from a start that is close enough for every root.
            let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..NEWTON_STEPS {
                let (value, before) = legendre(count, x);
                slope = n * (x * value - before) / (x * x - 1.0);
                x -= value / slope;
            }
            // From (-1, 1) to (0, 1): half as wide.
            ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// It doubles the digits with each step; the start has two or more.
const NEWTON_STEPS: usize = 8;

/// The Legendre polynomial of a degree, and the one before it, at `x`.
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut value, mut before) = (1.0, 0.0);
    for k in 0..degree {
        let k = k as f64;
        (value, before) = (((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0), value);
    }
    (value, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_integrated() {
        for count in [1, 2, 3, 4, 8, 20, 64] {
            let rule = rule(count);
            for power in [0, 1, count, 2 * count - 1] {
                let sum: f64 = rule.iter().map(|(t, weight)| weight * t.powi(power as i32)).sum();
                let wanted = 1.0 / (power as f64 + 1.0);
                assert!((sum - wanted).abs() < 4e-15 * wanted.max(0.1), "{count} points, power {power}: {sum}");
            }
            assert!(rule.iter().all(|&(t, weight)| 0.0 < t && t < 1.0 && weight > 0.0));
        }
    }
}
