//! Every operation of every instruction set gives what its formula gives, bit for bit: one test for
//! each operation, so that a failure names it and the level.

use bise_kernels::isa::{Isa, Kernel, LANES, Level};
use half::{bf16, f16};
use proptest::array::{uniform4, uniform16, uniform32};
use proptest::collection::vec;
use proptest::prelude::*;
use std::array::from_fn;
use std::fmt::Debug;

/// The largest activation; activations are never -128.
const MOST: i8 = 127;

type Lanes = [f32; LANES];
type Bytes = [u8; 4 * LANES];
/// Bits of lanes; all NaN are one, as which of them results is the machine's own affair.
type Bits = [u32; LANES];

/// Declares a kernel for each operation: a struct of its inputs, and what it computes of them.
macro_rules! operations {
    ($($name:ident($($input:ident: $type:ty),*) -> $output:ty, |$isa:ident| $body:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name { $($input: $type),* }

        impl Kernel for $name {
            type Output = $output;

            #[inline(always)]
            fn call<S: Isa>(self, $isa: S) -> $output {
                let Self { $($input),* } = self;
                $body
            }
        }
    )*};
}

operations! {
    Splat(x: f32) -> Bits, |isa| lanes(isa, isa.splat(x));
    Load(x: Lanes) -> Bits, |isa| lanes(isa, isa.load(&x));
    LoadF32(x: Bytes) -> Bits, |isa| lanes(isa, isa.load_f32(&x));
    LoadF16(x: Bytes) -> Bits, |isa| lanes(isa, isa.load_f16(first(&x)));
    LoadBf16(x: Bytes) -> Bits, |isa| lanes(isa, isa.load_bf16(first(&x)));
    LoadI8(x: Bytes) -> Bits, |isa| lanes(isa, isa.load_i8(first(&x)));
    LoadE4m3(x: Bytes) -> Bits, |isa| lanes(isa, isa.load_e4m3(first(&x)));
    LoadU8(x: Bytes) -> Bits, |isa| lanes(isa, isa.load_u8(first(&x)));
    BroadcastHalf(x: Lanes) -> Bits, |isa| lanes(isa, isa.broadcast_half(x.first_chunk().unwrap()));
    Add(a: Lanes, b: Lanes) -> Bits, |isa| lanes(isa, isa.add(isa.load(&a), isa.load(&b)));
    Mul(a: Lanes, b: Lanes) -> Bits, |isa| lanes(isa, isa.mul(isa.load(&a), isa.load(&b)));
    Fma(a: Lanes, b: Lanes, c: Lanes) -> Bits, |isa| {
        lanes(isa, isa.fma(isa.load(&a), isa.load(&b), isa.load(&c)))
    };
    FmaAll(w: Lanes, a: Lanes, b: Lanes, c: Lanes) -> [Bits; 2], |isa| {
        let mut acc = [isa.load(&c), isa.load(&a)];
        isa.fma_all(&w, &[isa.load(&a), isa.load(&b)], &mut acc);
        [lanes(isa, acc[0]), lanes(isa, acc[1])]
    };
    MaxAbs(a: Lanes, b: Lanes) -> Bits, |isa| {
        let most = isa.max_abs(isa.splat(0.0), isa.load(&a));
        lanes(isa, isa.max_abs(most, isa.load(&b)))
    };
    ReduceMax(x: Lanes) -> u32, |isa| {
        bits(isa.reduce_max(isa.max_abs(isa.splat(0.0), isa.load(&x))))
    };
    ReduceSum(x: Lanes) -> u32, |isa| bits(isa.reduce_sum(isa.load(&x)));
    SplatInt(x: i32) -> Bits, |isa| lanes(isa, isa.to_f32(isa.splat_int(x)));
    AddInt(a: i32, b: i32) -> Bits, |isa| {
        lanes(isa, isa.to_f32(isa.add_int(isa.splat_int(a), isa.splat_int(b))))
    };
    LoadBytes(x: Bytes) -> Bytes, |isa| stored(isa, isa.load_bytes(&x));
    ShiftMask(x: Bytes, shift: i32, mask: u8) -> Bytes, |isa| {
        stored(isa, isa.shift_mask(isa.load_bytes(&x), shift, mask))
    };
    Or(a: Bytes, b: Bytes) -> Bytes, |isa| stored(isa, isa.or(isa.load_bytes(&a), isa.load_bytes(&b)));
    Lookup(table: [u8; 16], places: Bytes) -> Bytes, |isa| {
        stored(isa, isa.lookup(&table, isa.load_bytes(&places)))
    };
    MaxAccumulate(bits: u32) -> usize, |_isa| S::max_accumulate(bits).min(AT_MOST);
}

/// Products that a test adds up at most.
const AT_MOST: usize = 300;

/// The lanes of `x`.
#[inline(always)]
fn lanes<S: Isa>(isa: S, x: S::F) -> Bits {
    let mut out = [0f32; LANES];
    isa.store(x, &mut out);
    out.map(bits)
}

/// The bytes of `x`.
#[inline(always)]
fn stored<S: Isa>(isa: S, x: S::B) -> Bytes {
    let mut out = [0; 4 * LANES];
    isa.store_bytes(x, &mut out);
    out
}

/// The first bytes of `x`.
#[inline(always)]
fn first<const N: usize>(x: &Bytes) -> &[u8; N] {
    x.first_chunk().expect("no more than there are")
}

fn bits(x: f32) -> u32 {
    if x.is_nan() {
        f32::NAN.to_bits()
    } else {
        x.to_bits()
    }
}

/// Checks that a kernel gives `expected` at each level.
fn gives<K: Kernel<Output: PartialEq + Debug> + Copy>(kernel: K, expected: K::Output) {
    let operation = std::any::type_name::<K>();
    for level in Level::available() {
        assert_eq!(level.run(kernel), expected, "{operation} at {level}");
    }
}

/// A test of an operation: its inputs, each with what they are taken from, and what lane, byte or
/// value `i` of the result is.
macro_rules! tests {
    ($($test:ident: $name:ident { $($input:ident: $strategy:expr),* } => $expected:expr;)*) => {
        proptest! {$(
            #[test]
            fn $test($($input in $strategy),*) {
                gives($name { $($input),* }, $expected);
            }
        )*}
    };
}

tests! {
    splat: Splat { x: any::<f32>() } => [bits(x); LANES];
    load_and_store: Load { x: floats() } => x.map(bits);
    load_f32: LoadF32 { x: bytes() } => from_fn(|l| bits(f32::from_le_bytes(part(&x, l))));
    load_f16: LoadF16 { x: bytes() } => from_fn(|l| bits(f16::from_le_bytes(part(&x, l)).to_f32()));
    load_bf16: LoadBf16 { x: bytes() } => from_fn(|l| bits(bf16::from_le_bytes(part(&x, l)).to_f32()));
    load_i8: LoadI8 { x: bytes() } => from_fn(|l| bits(f32::from(x[l] as i8)));
    load_u8: LoadU8 { x: bytes() } => from_fn(|l| bits(f32::from(x[l])));
    broadcast_half: BroadcastHalf { x: floats() } => from_fn(|l| bits(x[l % 8]));
    add: Add { a: floats(), b: floats() } => from_fn(|l| bits(a[l] + b[l]));
    mul: Mul { a: floats(), b: floats() } => from_fn(|l| bits(a[l] * b[l]));
    fma: Fma { a: floats(), b: floats(), c: floats() } => from_fn(|l| bits(a[l].mul_add(b[l], c[l])));
    fma_all: FmaAll { w: floats(), a: floats(), b: floats(), c: floats() } => [
        from_fn(|l| bits(w[l].mul_add(a[l], c[l]))),
        from_fn(|l| bits(w[l].mul_add(b[l], a[l]))),
    ];
    max_abs: MaxAbs { a: floats(), b: floats() } => from_fn(|l| magnitude(a[l]).max(magnitude(b[l])));
    reduce_max: ReduceMax { x: floats() } => x.map(magnitude).into_iter().max().unwrap();
    reduce_sum: ReduceSum { x: floats() } => bits(sum_by_halving(x));
    splat_int: SplatInt { x: any::<i32>() } => [(x as f32).to_bits(); LANES];
    add_int: AddInt { a: -(1 << 30)..1 << 30, b: -(1 << 30)..1 << 30 } => [((a + b) as f32).to_bits(); LANES];
    load_and_store_bytes: LoadBytes { x: bytes() } => x;
    or: Or { a: bytes(), b: bytes() } => from_fn(|i| a[i] | b[i]);
}

proptest! {
    #[test]
    fn shift_mask(x in bytes(), (shift, mask) in shift_and_mask()) {
        let shifted = |byte: u8| if shift < 0 { byte << -shift } else { byte >> shift };
        gives(ShiftMask { x, shift, mask }, x.map(|byte| shifted(byte) & mask));
    }

    #[test]
    fn lookup(table in uniform16(any::<u8>()), places in bytes()) {
        let places = places.map(|place| place & 15);
        gives(Lookup { table, places }, places.map(|place| table[usize::from(place)]));
    }

    #[test]
    fn dots_are_exact(
        start in -(1 << 20)..1 << 20, bits in 1u32..=8,
        terms in vec((bytes(), uniform4(-MOST..=MOST)), AT_MOST),
    ) {
        let below = |(w, x): (Bytes, [i8; 4])| (w.map(|w| w >> (8 - bits)), x);
        let terms: Vec<_> = terms.into_iter().map(below).collect();
        for level in Level::available() {
            let terms = &terms[..level.run(MaxAccumulate { bits })];
            let got = level.run(Dots { start, bits, terms });
            prop_assert_eq!(got, exact(start, terms), "{} of {} bits", level, bits);
        }
    }
}

/// The bits of `|x|`, NaN being one of them and above all others.
fn magnitude(x: f32) -> u32 {
    bits(x.abs())
}

/// The sum of lanes `l` and `l + 8`, then `l + 4`, `l + 2`, `l + 1`.
fn sum_by_halving(mut x: Lanes) -> f32 {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            x[l] += x[l + half];
        }
    }
    x[0]
}

/// Bytes `N l .. N l + N` of `x`.
fn part<const N: usize>(x: &Bytes, l: usize) -> [u8; N] {
    from_fn(|i| x[N * l + i])
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (uniform32(any::<u8>()), uniform32(any::<u8>()))
        .prop_map(|(a, b)| from_fn(|i| if i < 32 { a[i] } else { b[i - 32] }))
}

/// Numbers of every size, zeros, infinities, denormals and NaN.
fn floats() -> impl Strategy<Value = Lanes> {
    uniform16(prop_oneof![4 => -9f32..9.0, 1 => any::<u32>().prop_map(f32::from_bits)])
}

/// A shift, and a mask of bits that it brings from the byte itself.
fn shift_and_mask() -> impl Strategy<Value = (i32, u8)> {
    (-7i32..=7, any::<u8>()).prop_map(|(shift, mask)| {
        let from_itself = if shift < 0 { 0xff << -shift } else { 0xff >> shift };
        (shift, mask & from_itself as u8)
    })
}

/// `start` and the sums of products of weights below `2^bits` with activations.
#[derive(Clone, Copy)]
struct Dots<'a> {
    start: i32,
    bits: u32,
    terms: &'a [(Bytes, [i8; 4])],
}

impl Kernel for Dots<'_> {
    type Output = Bits;

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Bits {
        let ((mut sum, rest), mut lacking) = (isa.dot_start(self.start, self.bits), 0);
        for (w, x) in self.terms {
            sum = isa.dot_accumulate(sum, isa.load_bytes(w), *x, self.bits);
            sum = isa.optimization_barrier(sum);
            for x in x {
                lacking += 128 * i32::from(*x);
            }
        }
        let mut sum = isa.add_int(isa.dot_widen(sum, self.bits), rest);
        if S::SIGNED_WEIGHTS && self.bits == 8 {
            sum = isa.add_int(sum, isa.splat_int(lacking));
        }
        lanes(isa, isa.to_f32(sum))
    }
}

/// The sums that [`Dots`] stands for, in arithmetic that cannot overflow.
fn exact(start: i32, terms: &[(Bytes, [i8; 4])]) -> Bits {
    from_fn(|l| {
        let mut sum = i64::from(start);
        for (w, x) in terms {
            for j in 0..4 {
                sum += i64::from(w[4 * l + j]) * i64::from(x[j]);
            }
        }
        (sum as f32).to_bits()
    })
}

/// The largest sums of either sign that the contract allows, as many as a level takes: nothing
/// saturates.
#[test]
fn dots_hold_as_many_as_they_say() {
    for bits in 1..=8u32 {
        let most = u8::MAX >> (8 - bits);
        for w in [0, 1, most / 2, most] {
            for x in [
                [MOST; 4],
                [-MOST; 4],
                [MOST, -MOST, MOST, -MOST],
                [0, 0, MOST, MOST],
            ] {
                for level in Level::available() {
                    let terms = vec![([w; 4 * LANES], x); level.run(MaxAccumulate { bits })];
                    let (start, terms) = (0, &terms[..]);
                    let got = level.run(Dots { start, bits, terms });
                    assert_eq!(got, exact(0, terms), "{level}: {w} of {bits} bits by {x:?}");
                }
            }
        }
    }
}

/// Every f16 and bf16 there is, NaN included.
#[test]
fn all_halves_load_alike() {
    for first in (0..=u16::MAX).step_by(LANES) {
        let half = |l: usize| first + l as u16;
        let x = from_fn(|i| {
            if i < 2 * LANES {
                half(i / 2).to_le_bytes()[i % 2]
            } else {
                0
            }
        });
        gives(LoadF16 { x }, from_fn(|l| bits(f16::from_bits(half(l)).to_f32())));
        gives(
            LoadBf16 { x },
            from_fn(|l| bits(bf16::from_bits(half(l)).to_f32())),
        );
    }
}

/// Every float of eight bits there is, by its definition in arithmetic that is exact.
#[test]
fn all_e4m3_load_alike() {
    let value = |byte: u8| {
        let (exponent, fraction) = (i32::from(byte >> 3 & 15), f64::from(byte & 7));
        let magnitude = match (exponent, byte & 7) {
            (15, 7) => f64::NAN,
            (0, _) => fraction * 2f64.powi(-9),
            _ => (8.0 + fraction) * 2f64.powi(exponent - 10),
        };
        (if byte < 128 { magnitude } else { -magnitude }) as f32
    };
    for first in (0..=u8::MAX).step_by(LANES) {
        // What follows the 16 bytes is not read.
        let x = from_fn(|i| first.wrapping_add(i as u8));
        gives(LoadE4m3 { x }, from_fn(|l| bits(value(x[l]))));
    }
}

/// Values whose sum depends on the order.
#[test]
fn a_sum_is_by_halving() {
    for l in 0..LANES {
        for m in 0..LANES {
            let mut x = [1.0; LANES];
            x[l] = 1e9;
            x[m] = -1e9;
            gives(ReduceSum { x }, bits(sum_by_halving(x)));
        }
    }
}

#[test]
fn levels_have_names_that_are_read_back() {
    let levels = Level::available();
    assert_eq!(levels[0], Level::SCALAR);
    assert_eq!(levels[levels.len() - 1], Level::detect());
    for level in levels {
        assert_eq!(level.name().parse::<Level>().unwrap(), level);
        println!("{level}");
    }
}
