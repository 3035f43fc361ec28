//! VNNI on 256-bit registers: four products added to a 32-bit sum by one instruction, in either of
//! its encodings.

use super::ymm::{Multiply, Ymm};
use crate::isa::Kernel;
use std::arch::x86_64::*;

/// The AVX-VNNI level, of Intel's processors without AVX-512.
pub type AvxVnni = Ymm<VexDpbusd>;

/// The level of AVX-512's instructions on 256-bit registers: what [`AvxVnni`] does, encoded
/// otherwise.
pub type Avx512Vl = Ymm<EvexDpbusd>;

/// Proof that the CPU has AVX-VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VexDpbusd(());

/// Compiles `kernel` with the features that [`AvxVnni`] proves.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn with_avx_vnni<K: Kernel>(isa: AvxVnni, kernel: K) -> K::Output {
    kernel.call(isa)
}

impl Multiply for VexDpbusd {
    const NR: usize = 6;

    fn detect() -> Option<Self> {
        is_x86_feature_detected!("avxvnni").then_some(Self(()))
    }

    #[inline]
    fn run<K: Kernel>(isa: AvxVnni, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_avx_vnni(isa, kernel) }
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: __m256i, w: __m256i, x: __m256i, _: u32) -> __m256i {
        // SAFETY: AVX-VNNI was detected.
        unsafe { _mm256_dpbusd_avx_epi32(sum, w, x) }
    }
}

/// Proof that the CPU has AVX-512 F, VL and VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvexDpbusd(());

/// Compiles `kernel` with the features that [`Avx512Vl`] proves.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
fn with_avx512_vl<K: Kernel>(isa: Avx512Vl, kernel: K) -> K::Output {
    kernel.call(isa)
}

impl Multiply for EvexDpbusd {
    /// There are 32 registers, twice as many as without AVX-512.
    const NR: usize = 6;

    fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        found.then_some(Self(()))
    }

    #[inline]
    fn run<K: Kernel>(isa: Avx512Vl, kernel: K) -> K::Output {
        // SAFETY: the features were detected.
        unsafe { with_avx512_vl(isa, kernel) }
    }

    #[inline(always)]
    fn dot_accumulate(self, sum: __m256i, w: __m256i, x: __m256i, _: u32) -> __m256i {
        // SAFETY: AVX-512 VL and VNNI were detected.
        unsafe { _mm256_dpbusd_epi32(sum, w, x) }
    }
}
