//! Telling the processor what comes next.
//!
//! Keys are many and come in any order, so the state of a row's key is rarely in the cache, and waiting for it
//! costs more than computing with it. A batch says which keys follow: their state is fetched while the rows
//! before them are computed.

/// Asks for the cache line that holds an item. Changes nothing but time.
#[inline(always)]
pub fn prefetch<T>(item: Option<&T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = item {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and reads nothing as far as the program can tell; the address is
        // that of a live item besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}
