//! CPU time of this process.

use std::ffi::{c_int, c_long};

#[repr(C)]
struct TimeSpec {
    seconds: c_long,
    nanoseconds: c_long,
}

/// Linux.
const PROCESS_CPU: c_int = 2;

unsafe extern "C" {
    fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int;
}

/// CPU time of all threads of this process in nanoseconds.
pub fn cpu_ns() -> f64 {
    let mut time = TimeSpec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the pointer is to a `timespec`.
    unsafe { clock_gettime(PROCESS_CPU, &raw mut time) };
    time.seconds as f64 * 1e9 + time.nanoseconds as f64
}

/// The middle of the numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
