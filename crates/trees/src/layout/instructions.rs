//! Which instructions of the processor are used: found out once, when a model is loaded.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;

/// Which instructions a model may use. Results do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Instructions {
    /// The best the processor has.
    #[default]
    Auto,
    /// Those that every processor of the architecture has.
    Portable,
    /// AVX2, on x86-64.
    Avx2,
    /// AVX-512 with VBMI and BITALG, on x86-64.
    Avx512,
    /// NEON, on AArch64, where every processor has it: without it there are no kernels of its own.
    Neon,
}

impl Instructions {
    /// Whether this processor has them.
    pub fn available(self) -> bool {
        Level::of(self).is_some()
    }
}

/// Instructions that the processor is known to have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon,
    Portable,
}

impl Level {
    /// The level of instructions, if the processor has them.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn of(instructions: Instructions) -> Option<Self> {
        let (avx512, avx2) = (|| Avx512::detect().map(Self::Avx512), || Avx2::detect().map(Self::Avx2));
        match instructions {
            Instructions::Auto => avx512().or_else(avx2).or(Some(Self::Portable)),
            Instructions::Portable => Some(Self::Portable),
            Instructions::Avx2 => avx2(),
            Instructions::Avx512 => avx512(),
            Instructions::Neon => None,
        }
    }

    /// The level of instructions, if the processor has them.
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    pub(crate) fn of(instructions: Instructions) -> Option<Self> {
        match instructions {
            Instructions::Auto | Instructions::Neon => Some(Self::Neon),
            Instructions::Portable => Some(Self::Portable),
            Instructions::Avx2 | Instructions::Avx512 => None,
        }
    }

    /// The level of instructions, if the processor has them.
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
    pub(crate) fn of(instructions: Instructions) -> Option<Self> {
        matches!(instructions, Instructions::Auto | Instructions::Portable).then_some(Self::Portable)
    }

    /// Whether joining the lines of a large table is faster than a walk: with AVX2. (AVX-512 has better ways than either.)
    pub(crate) fn has_wide_words(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => true,
            _ => false,
        }
    }

    /// Whether there is a kernel for the scorer.
    pub(crate) fn has_scorer(self) -> bool {
        !matches!(self, Self::Portable)
    }

    pub(crate) fn is_avx512(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => true,
            _ => false,
        }
    }
}
