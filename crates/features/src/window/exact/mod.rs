//! Exact arithmetic for sums of doubles.
//!
//! A window operator that keeps a running `f64` sum drifts: it adds what enters the window and subtracts what
//! leaves it, and each of those operations rounds. After a few million slides the error is visible, and worse,
//! it depends on the *history* of the window instead of its content: two tasks with the same rows in the same
//! window disagree because one was restarted in between.
//!
//! Here nothing rounds until a value is asked for. Every finite double is an integer times 2^-1074, and every
//! product of two doubles an integer times 2^-2148, so a sum of them is an integer too, and adding and
//! subtracting integers is exact and has no order. [`ExactSum`] holds that integer; the statistics (mean,
//! variance, covariance, …) are computed from such integers by [`statistics`], with one rounding each at the
//! end. What follows:
//!
//! * an aggregate is a pure function of the rows in its frame. A snapshot stores rows and forgets accumulators;
//!   a frame may be moved back and forth at will, or built anew, and the result is the same to the last bit;
//! * a window of equal values has a variance of exactly 0, because n·Σx² − (Σx)² is exactly 0.
//!
//! The price is small: a sum is four 64-bit limbs around the magnitude of the data, and adding a double to it
//! is a shift and an add with carry. Only data that span more than some 2^128 at once need a wider form.

mod round;
mod statistics;
mod sum;
#[cfg(test)]
mod tests;

pub use statistics::{Moments, correlation, covariance, regression_slope, variance};
pub use sum::{ExactProducts, ExactSum};
