//! What the kernels ask of a CPU.

/// Logical lanes of every instruction set.
pub const LANES: usize = 16;

/// The operations that kernels are written in, on 16 lanes of f32 or i32.
pub trait Isa: Copy + Send + Sync + 'static {
    /// 16 lanes of f32.
    type F: Copy;
    /// 16 lanes of i32.
    type I: Copy;
    /// 64 bytes, four for each lane.
    type B: Copy;
    /// 16 lanes of dot products on their way to `I`, perhaps in a form that holds only so much.
    type P: Copy;

    /// Whether the register file holds 32 vectors of 16 lanes, as AVX-512's does. Kernels then keep
    /// up to 24 of them as accumulators, elsewhere up to six: this decides how many outputs they
    /// work on at a time.
    const MANY_ACCUMULATORS: bool;
    /// Rows of activations that a product of quantized weights works on at a time: as many as the
    /// registers hold accumulators of, for [`WEIGHT_VECTORS`](Self::WEIGHT_VECTORS).
    const NR: usize;
    /// Rows of activations that a product of few of them works on at a time, with one vector of
    /// [`LANES`] rows of weights.
    const GEMV_NR: usize = Self::NR;
    /// Vectors of [`LANES`] rows of weights that a product with many rows of activations works on
    /// at a time: 1 or 2.
    const WEIGHT_VECTORS: usize = 1;
    /// Whether [`dot_accumulate`](Self::dot_accumulate) takes weights of 8 bits as `w - 128`: some
    /// machines only multiply signed bytes.
    const SIGNED_WEIGHTS: bool;

    /// Runs a kernel compiled with the features of this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// Lane `l` is `x[l]`.
    fn load(self, x: &[f32; LANES]) -> Self::F;
    /// Lane `l` is the `l`-th little-endian f32 of `x`.
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::F;
    /// Lane `l` is the `l`-th little-endian f16 of `x`.
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::F;
    /// Lane `l` is `x[l]` as a signed integer.
    fn load_i8(self, x: &[u8; LANES]) -> Self::F;
    /// Lane `l` is the `l`-th little-endian bf16 of `x`.
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::F;
    /// Lane `l` is `x[l]` as a float of eight bits, E4M3: NaN where the magnitude is 0x7f.
    fn load_e4m3(self, x: &[u8; LANES]) -> Self::F;
    /// Lane `l` is `x[l]`.
    fn load_u8(self, x: &[u8; LANES]) -> Self::F;
    /// Lanes `l` and `l + 8` are `x[l]`.
    fn broadcast_half(self, x: &[f32; LANES / 2]) -> Self::F;
    /// Writes lane `l` to `out[l]`.
    fn store(self, x: Self::F, out: &mut [f32; LANES]);
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `acc[c] = fma(w, x[c], acc[c])` for each `c`, with no more of `w` in registers at a time
    /// than it takes.
    #[inline(always)]
    fn fma_all<const N: usize>(self, w: &[f32; LANES], x: &[Self::F; N], acc: &mut [Self::F; N]) {
        let w = self.load(w);
        for c in 0..N {
            acc[c] = self.fma(w, x[c], acc[c]);
        }
    }
    /// Lane by lane the larger of `|x|` and `most`, which has no sign: of both the one whose bits
    /// are the larger integer. So infinity is above all numbers, and NaN above infinity.
    fn max_abs(self, most: Self::F, x: Self::F) -> Self::F;
    /// The largest lane in that order, when none has a sign.
    fn reduce_max(self, x: Self::F) -> f32;
    /// The sum of all lanes by halving: lanes `l` and `l + 8`, then `l + 4`, `l + 2`, `l + 1`.
    fn reduce_sum(self, x: Self::F) -> f32;

    /// Bytes `4l .. 4l + 4` of `w` belong to lane `l`.
    fn load_bytes(self, w: &[u8; 4 * LANES]) -> Self::B;
    /// Writes what [`load_bytes`](Self::load_bytes) reads.
    fn store_bytes(self, w: Self::B, out: &mut [u8; 4 * LANES]);
    /// Asks for the cache line at `at`, which may be any address, to be brought near.
    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
    /// Asks for the cache line at `at` to be brought into the second cache: for what is further
    /// away than the first one holds.
    #[inline(always)]
    fn prefetch_second(self, _at: *const u8) {}
    /// Each byte shifted right by `shift` bits, left when `shift` is negative, and cut to the bits
    /// of `mask`, which has only bits that the shift brings from the byte itself. `shift` is known
    /// at compile time once loops are unrolled.
    fn shift_mask(self, w: Self::B, shift: i32, mask: u8) -> Self::B;
    /// The bits of both.
    fn or(self, a: Self::B, b: Self::B) -> Self::B;
    /// Each byte, below 16, replaced by the byte of `table` at that place.
    fn lookup(self, table: &[u8; 16], places: Self::B) -> Self::B;

    /// How many times [`dot_accumulate`](Self::dot_accumulate) may add weights below `2^bits` to
    /// one sum, before it has to be widened.
    fn max_accumulate(bits: u32) -> usize;
    /// Dot products of nothing.
    fn dot_zero(self) -> Self::P;
    /// Dot products of weights below `2^bits`, and what to add to them once they are widened:
    /// together they are `start` in every lane.
    #[inline(always)]
    fn dot_start(self, start: i32, bits: u32) -> (Self::P, Self::I) {
        let _ = bits;
        (self.dot_zero(), self.splat_int(start))
    }
    /// Adds to each lane the exact dot product of its four bytes of `w`, all below `2^bits`, with
    /// `x`, whose values lie in `-127..=127`.
    fn dot_accumulate(self, sum: Self::P, w: Self::B, x: [i8; 4], bits: u32) -> Self::P;
    /// `sum`, over which the compiler may not move additions to it. Left alone, it reorders exact
    /// additions until the registers do not suffice.
    #[inline(always)]
    fn optimization_barrier(self, sum: Self::P) -> Self::P {
        sum
    }
    /// Dot products of weights below `2^bits` in 32 bits.
    fn dot_widen(self, sum: Self::P, bits: u32) -> Self::I;
    /// `x` in every lane.
    fn splat_int(self, x: i32) -> Self::I;
    /// `a + b`.
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// Each lane converted to the nearest f32.
    fn to_f32(self, x: Self::I) -> Self::F;
}

/// A computation that is compiled once for each instruction set.
///
/// Implementations mark `call` and what it calls `#[inline(always)]`: only code inlined into
/// [`Isa::run`] is compiled with the features.
pub trait Kernel {
    /// What the computation gives.
    type Output;
    /// The computation, in the operations of `isa`.
    fn call<S: Isa>(self, isa: S) -> Self::Output;
}
