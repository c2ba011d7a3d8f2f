//! Loads and stores of whole arrays.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::layout::quant::Line;

/// Declares loads and stores of whole arrays.
macro_rules! moves {
    ($($name:ident($array:ty) -> $register:ty: $load:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        pub(super) fn $name(array: &$array) -> $register {
            const { assert!(size_of::<$array>() == size_of::<$register>()) };
            // SAFETY: the array is as large as the register, and the load needs no alignment.
            unsafe { $load(std::ptr::from_ref(array).cast()) }
        }
    )*};
    (mut $($name:ident($array:ty, $register:ty): $store:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        pub(super) fn $name(array: &mut $array, register: $register) {
            const { assert!(size_of::<$array>() == size_of::<$register>()) };
            // SAFETY: the array is as large as the register, any bits are a value of it, and the store needs no alignment.
            unsafe { $store(std::ptr::from_mut(array).cast(), register) }
        }
    )*};
}

moves! {
    load(Line) -> __m512i: _mm512_loadu_si512;
    load_bytes([u8; 64]) -> __m512i: _mm512_loadu_si512;
    load_u32([u32; 16]) -> __m512i: _mm512_loadu_si512;
    load_u64([u64; 8]) -> __m512i: _mm512_loadu_si512;
    load_f32([f32; 16]) -> __m512: _mm512_loadu_ps;
}

moves! { mut
    store(Line, __m512i): _mm512_storeu_si512;
    store_u64([u64; 8], __m512i): _mm512_storeu_si512;
    store_f32([f32; 16], __m512): _mm512_storeu_ps;
}

/// The lowest bytes of eight numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn store_low_bytes(numbers: __m512i) -> [u8; 8] {
    (_mm_cvtsi128_si64(_mm512_cvtepi64_epi8(numbers)) as u64).to_le_bytes()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn store_i8x16(bytes: __m128i) -> [u8; 16] {
    let (low, high) = (_mm_cvtsi128_si64(bytes) as u64, _mm_extract_epi64::<1>(bytes) as u64);
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}
