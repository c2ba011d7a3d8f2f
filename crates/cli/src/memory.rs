//! The allocator, and how long it keeps what was freed.
//!
//! Epochs come every few milliseconds and take megabytes each. An allocator that gives freed memory back at once has the
//! kernel clear the same pages again and again: a tenth of the CPU time of the fraud job.

use std::ffi::{c_int, c_long};

/// Cheaper than the system's where many threads make and drop record batches. Serves the C libraries too: librdkafka makes
/// two blocks a record, often freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's `mi_option_t`, in versions 2 and 3.
const PURGE_DELAY: c_int = 15;
/// Memory that nothing used for ten times as long goes back to the system.
const PURGE_DELAY_MS: c_long = 10_000;

/// Sets the allocator up. To be called first.
pub fn init() {
    // An environment variable of mimalloc's own stands above.
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets a number in a table of options; any number is allowed for this one.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) }
    }
}
