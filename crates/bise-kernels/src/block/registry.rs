//! The table of formats: every fact about a format that other code asks for comes from here.

use super::*;
use crate::isa::{Isa, Kernel, Level};
use rayon::prelude::*;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

/// Code to be compiled once for each format; [`DType::visit`] picks the instance.
pub trait FormatVisitor {
    /// What a visit gives.
    type Output;
    /// Called for formats of one value a block.
    fn plain<F: PlainFormat>(self) -> Self::Output;
    /// Called for quantized formats.
    fn int<F: IntFormat>(self) -> Self::Output;
    /// Called for quantized formats that are unpacked to be multiplied.
    fn codebook<F: CodebookFormat>(self) -> Self::Output;
}

/// Declares [`DType`] from lines `kind Type = id, "name"`; those of types that GGML does not have
/// are without id.
macro_rules! formats {
    ($($kind:ident $format:ident $(= $id:literal)?, $name:literal;)*) => {
        /// The type of a tensor's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType {
            $(#[doc = $name] $format,)*
        }

        impl DType {
            /// Every type that this crate reads: GGML's in the order of their ids, then others.
            pub const ALL: &'static [DType] = &[$(DType::$format),*];

            /// The type's name as GGML writes it, such as `Q4_K`, or safetensors.
            pub fn name(self) -> &'static str {
                match self { $(DType::$format => $name),* }
            }

            /// GGML's number for the type; `None` for one that no GGUF file has.
            pub fn id(self) -> Option<u32> {
                match self { $(DType::$format => [$($id)?].first().copied()),* }
            }

            /// Runs the visitor's instance for this type.
            pub fn visit<V: FormatVisitor>(self, visitor: V) -> V::Output {
                match self { $(DType::$format => visitor.$kind::<$format>()),* }
            }

            fn format(self) -> AnyFormat {
                match self { $(DType::$format => AnyFormat::$kind::<$format>()),* }
            }
        }
    };
}

formats! {
    plain F32 = 0, "F32";
    plain F16 = 1, "F16";
    int Q4_0 = 2, "Q4_0";
    int Q4_1 = 3, "Q4_1";
    int Q5_0 = 6, "Q5_0";
    int Q5_1 = 7, "Q5_1";
    int Q8_0 = 8, "Q8_0";
    int Q2_K = 10, "Q2_K";
    int Q3_K = 11, "Q3_K";
    int Q4_K = 12, "Q4_K";
    int Q5_K = 13, "Q5_K";
    int Q6_K = 14, "Q6_K";
    codebook IQ2_XXS = 16, "IQ2_XXS";
    codebook IQ2_XS = 17, "IQ2_XS";
    codebook IQ3_XXS = 18, "IQ3_XXS";
    codebook IQ1_S = 19, "IQ1_S";
    int IQ4_NL = 20, "IQ4_NL";
    codebook IQ3_S = 21, "IQ3_S";
    codebook IQ2_S = 22, "IQ2_S";
    int IQ4_XS = 23, "IQ4_XS";
    codebook IQ1_M = 29, "IQ1_M";
    plain Bf16 = 30, "BF16";
    codebook TQ1_0 = 34, "TQ1_0";
    codebook TQ2_0 = 35, "TQ2_0";
    codebook MXFP4 = 39, "MXFP4";
    codebook NVFP4 = 40, "NVFP4";
    codebook Q1_0 = 41, "Q1_0";
    codebook Q2_0 = 42, "Q2_0";
    plain F8_E4M3, "F8_E4M3";
}

/// Values that one thread quantizes at a time.
const TASK: usize = 4096;

/// Values and their importance to blocks.
type Quantizer = fn(&[f32], Option<&[f32]>, &mut [u8]);

/// A format's facts and functions as values; the functions take whole blocks.
struct AnyFormat {
    len: usize,
    bytes: usize,
    u16_fields: &'static [usize],
    u32_fields: &'static [usize],
    scaled: bool,
    dequantize: fn(&[u8], &mut [f32]),
    /// `None` for formats that are only read.
    quantize: Option<Quantizer>,
}

/// Every level gives the same values and the same bytes: formats use no operation whose result
/// differs.
static LEVEL: LazyLock<Level> = LazyLock::new(Level::detect);

struct Dequantize<'a, F> {
    blocks: &'a [u8],
    out: &'a mut [f32],
    format: PhantomData<F>,
}

impl<F: Format> Kernel for Dequantize<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let blocks = self.blocks.chunks_exact(F::BYTES);
        for (block, out) in blocks.zip(self.out.chunks_exact_mut(F::LEN)) {
            F::dequantize(block, out);
        }
    }
}

struct DequantizeCodebook<'a, F> {
    blocks: &'a [u8],
    out: &'a mut [f32],
    format: PhantomData<F>,
}

impl<F: CodebookFormat> Kernel for DequantizeCodebook<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let blocks = self.blocks.chunks_exact(F::BYTES);
        for (block, out) in blocks.zip(self.out.chunks_exact_mut(F::LEN)) {
            coded::dequantize::<F>(block, out);
        }
    }
}

struct Quantize<'a, F> {
    x: &'a [f32],
    importance: Option<&'a [f32]>,
    blocks: &'a mut [u8],
    format: PhantomData<F>,
}

impl<F: Format> Kernel for Quantize<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call<S: Isa>(self, _: S) {
        let blocks = self.blocks.chunks_exact_mut(F::BYTES);
        for (i, (block, x)) in blocks.zip(self.x.chunks_exact(F::LEN)).enumerate() {
            let importance = self.importance.map(|w| &w[i * F::LEN..][..F::LEN]);
            F::quantize(x, importance, block);
        }
    }
}

impl AnyFormat {
    fn of<F: Format>() -> Self {
        Self {
            len: F::LEN,
            bytes: F::BYTES,
            u16_fields: F::U16_FIELDS,
            u32_fields: F::U32_FIELDS,
            scaled: false,
            dequantize: |blocks, out| {
                LEVEL.run(Dequantize {
                    blocks,
                    out,
                    format: PhantomData::<F>,
                });
            },
            quantize: match F::WRITTEN {
                true => Some(|x, importance, blocks| {
                    LEVEL.run(Quantize {
                        x,
                        importance,
                        blocks,
                        format: PhantomData::<F>,
                    });
                }),
                false => None,
            },
        }
    }

    fn plain<F: PlainFormat>() -> Self {
        Self {
            scaled: F::SCALED,
            ..Self::of::<F>()
        }
    }

    fn int<F: IntFormat>() -> Self {
        Self::of::<F>()
    }

    fn codebook<F: CodebookFormat>() -> Self {
        Self {
            len: F::LEN,
            bytes: F::BYTES,
            u16_fields: F::U16_FIELDS,
            u32_fields: &[],
            scaled: false,
            dequantize: |blocks, out| {
                LEVEL.run(DequantizeCodebook {
                    blocks,
                    out,
                    format: PhantomData::<F>,
                });
            },
            quantize: None,
        }
    }
}

impl DType {
    /// The type with GGML's number `id`.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.id() == Some(id))
    }

    /// The type called `name`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// Values in a block.
    pub fn block_len(self) -> usize {
        self.format().len
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        self.format().bytes
    }

    /// Whether values are small integers times scales of their block.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether values are multiples of scales that their tensor has:
    /// [`Scales`](crate::tensor::Scales).
    pub fn is_scaled(self) -> bool {
        self.format().scaled
    }

    /// Whether [`quantize`](Self::quantize) writes this type; the others are only read.
    pub fn can_quantize(self) -> bool {
        self.format().quantize.is_some()
    }

    /// Bytes of `n` values, or `None` when `n` is not a whole number of blocks or the size
    /// overflows.
    pub fn bytes_for(self, n: u64) -> Option<u64> {
        let format = self.format();
        let whole = n.is_multiple_of(format.len as u64);
        if whole {
            (n / format.len as u64).checked_mul(format.bytes as u64)
        } else {
            None
        }
    }

    /// Dequantizes whole blocks.
    ///
    /// # Panics
    /// When `out` is not as long as the blocks of `bytes`.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) {
        let format = self.format();
        assert_eq!(
            self.bytes_for(out.len() as u64),
            Some(bytes.len() as u64),
            "{self} blocks for {} values",
            out.len()
        );
        (format.dequantize)(bytes, out);
    }

    /// Quantizes whole blocks, in parallel; `importance` (as long as `x`) weighs each value's
    /// squared error.
    ///
    /// # Panics
    /// When the type is only read ([`can_quantize`](Self::can_quantize)), when `out` is not as long
    /// as the blocks of `x`, or `importance` not as long as `x`.
    pub fn quantize(self, x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        let format = self.format();
        assert_eq!(
            self.bytes_for(x.len() as u64),
            Some(out.len() as u64),
            "{self} blocks for {} values",
            x.len()
        );
        assert!(
            importance.is_none_or(|w| w.len() == x.len()),
            "importance covers every value"
        );
        let quantize = format.quantize.unwrap_or_else(|| panic!("{self} is only read"));
        let blocks = TASK.div_ceil(format.len);
        let tasks = out.par_chunks_mut(blocks * format.bytes);
        tasks
            .zip(x.par_chunks(blocks * format.len))
            .enumerate()
            .for_each(|(i, (out, x))| {
                let importance = importance.map(|w| &w[i * blocks * format.len..][..x.len()]);
                quantize(x, importance, out);
            });
    }

    /// Turns blocks of a big-endian file into little-endian ones, in place.
    pub fn swap_endian(self, bytes: &mut [u8]) {
        let format = self.format();
        for block in bytes.chunks_exact_mut(format.bytes) {
            for &at in format.u32_fields {
                block[at..at + 4].reverse();
            }
            for &at in format.u16_fields {
                block.swap(at, at + 1);
            }
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantizes `x` and dequantizes it again at `level`.
    struct RoundTrip<'a> {
        level: Level,
        x: &'a [f32],
        importance: Option<&'a [f32]>,
    }

    impl RoundTrip<'_> {
        fn through<F: Format>(self) -> (Vec<u8>, Vec<u32>) {
            let mut bytes = vec![0; self.x.len() / F::LEN * F::BYTES];
            let mut out = vec![0.0; self.x.len()];
            let (x, importance, format) = (self.x, self.importance, PhantomData::<F>);
            match F::WRITTEN {
                true => self.level.run(Quantize {
                    x,
                    importance,
                    blocks: &mut bytes,
                    format,
                }),
                false => bytes = x.iter().flat_map(|x| x.to_le_bytes()).take(bytes.len()).collect(),
            }
            self.level.run(Dequantize {
                blocks: &bytes,
                out: &mut out,
                format,
            });
            (bytes, out.iter().map(|v| v.to_bits()).collect())
        }
    }

    impl FormatVisitor for RoundTrip<'_> {
        type Output = (Vec<u8>, Vec<u32>);

        fn plain<F: PlainFormat>(self) -> Self::Output {
            self.through::<F>()
        }

        fn int<F: IntFormat>(self) -> Self::Output {
            self.through::<F>()
        }

        /// Takes `x` for blocks.
        fn codebook<F: CodebookFormat>(self) -> Self::Output {
            let bytes: Vec<u8> = self.x.iter().flat_map(|x| x.to_le_bytes()).collect();
            let blocks = &bytes[..bytes.len() / F::BYTES * F::BYTES];
            let mut out = vec![0.0; blocks.len() / F::BYTES * F::LEN];
            self.level.run(DequantizeCodebook {
                blocks,
                out: &mut out,
                format: PhantomData::<F>,
            });
            (Vec::new(), out.iter().map(|v| v.to_bits()).collect())
        }
    }

    #[test]
    fn every_level_gives_the_same_bytes() {
        let mut state = 7u32;
        let mut bits = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        // Ordinary values, then any finite ones.
        let ordinary: Vec<f32> = (0..16384)
            .map(|_| bits() as i32 as f32 / (1u32 << 31) as f32)
            .collect();
        let any = (0..16384).map(|_| f32::from_bits(bits() & !(1 << 30)));
        let x: Vec<f32> = ordinary.into_iter().chain(any).collect();
        let weights: Vec<f32> = (0..x.len()).map(|_| (bits() >> 16) as f32).collect();
        for &dtype in DType::ALL {
            for importance in [None, Some(&weights[..])] {
                let at = |level| {
                    dtype.visit(RoundTrip {
                        level,
                        x: &x,
                        importance,
                    })
                };
                let scalar = at(Level::SCALAR);
                for level in Level::available() {
                    assert!(at(level) == scalar, "{dtype} at {level}");
                }
            }
        }
    }
}
