//! Every operation of every instruction set gives what the scalar level gives, bit for bit.

use bise_kernels::isa::{Isa, Kernel, LANES, Level};
use proptest::array::{uniform4, uniform16, uniform32};
use proptest::collection::vec;
use proptest::prelude::*;

/// The largest activation; activations are never -128.
const MOST: i8 = 127;

/// Runs a kernel at each level and checks that all give what the scalar level gives.
fn same_at_every_level<K: Kernel + Copy>(kernel: K) -> K::Output
where
    K::Output: PartialEq + std::fmt::Debug,
{
    let expected = Level::SCALAR.run(kernel);
    for level in Level::available() {
        assert_eq!(level.run(kernel), expected, "{level}");
    }
    expected
}

/// The lanes of `x`.
#[inline(always)]
fn bits<S: Isa>(isa: S, x: S::F) -> [u32; LANES] {
    let mut out = [0f32; LANES];
    isa.store(x, &mut out);
    out.map(one_nan)
}

/// The bits of `x`; the bits of NaN are the machine's own affair.
fn one_nan(x: f32) -> u32 {
    if x.is_nan() {
        f32::NAN.to_bits()
    } else {
        x.to_bits()
    }
}

/// All operations on f32 lanes.
#[derive(Clone, Copy)]
struct Floats {
    a: [f32; LANES],
    b: [f32; LANES],
    c: [f32; LANES],
}

impl Kernel for Floats {
    type Output = ([[u32; LANES]; 8], [u32; 2]);

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let (a, b, c) = (isa.load(&self.a), isa.load(&self.b), isa.load(&self.c));
        let mut all = [c, a];
        isa.fma_all(&self.a, &[a, b], &mut all);
        let most = isa.larger(isa.larger(isa.splat(0.0), a), b);
        let lanes = [
            bits(isa, a),
            bits(isa, isa.add(a, b)),
            bits(isa, isa.mul(a, b)),
            bits(isa, isa.fma(a, b, c)),
            bits(isa, isa.splat(self.a[3])),
            bits(isa, isa.load_twice(self.a.first_chunk().unwrap())),
            bits(isa, all[1]),
            bits(isa, most),
        ];
        (lanes, [one_nan(isa.sum(a)), isa.largest(most).to_bits()])
    }
}

/// All loads of f32 lanes from bytes.
#[derive(Clone, Copy)]
struct Loads<'a>(&'a [u8; 4 * LANES]);

impl Kernel for Loads<'_> {
    type Output = [[u32; LANES]; 4];

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let (half, _) = self.0.split_first_chunk().unwrap();
        let (quarter, _) = self.0.split_first_chunk().unwrap();
        [
            bits(isa, isa.load_f32(self.0)),
            bits(isa, isa.load_f16(half)),
            bits(isa, isa.load_bf16(half)),
            bits(isa, isa.load_u8(quarter)),
        ]
    }
}

/// All operations on i32 lanes, which only conversion to f32 leaves: to the last bit for values below 2^24.
#[derive(Clone, Copy)]
struct Integers {
    a: i32,
    b: i32,
}

impl Kernel for Integers {
    type Output = [[u32; LANES]; 2];

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let (a, b) = (isa.splat_int(self.a), isa.splat_int(self.b));
        [bits(isa, isa.to_f32(a)), bits(isa, isa.to_f32(isa.add_int(a, b)))]
    }
}

/// How many [`Isa::dot`]s a level adds up at most, cut to a number that tests can afford.
struct Capacity(u32);

impl Kernel for Capacity {
    type Output = usize;

    #[inline(always)]
    fn call<S: Isa>(self, _: S) -> usize {
        S::capacity(self.0).min(300)
    }
}

/// `start` and the sums of products of weights below `2^bits` with activations.
#[derive(Clone, Copy)]
struct Dots<'a> {
    start: i32,
    bits: u32,
    terms: &'a [([u8; 4 * LANES], [i8; 4])],
}

impl Kernel for Dots<'_> {
    type Output = [u32; LANES];

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let ((mut sum, rest), mut lacking) = (isa.begin_at(self.start, self.bits), 0);
        for (w, x) in self.terms {
            sum = isa.dot(sum, isa.load_bytes(w), *x, self.bits);
            for x in x {
                lacking += 128 * i32::from(*x);
            }
        }
        let mut sum = isa.add_int(isa.end(sum, self.bits), rest);
        if S::CENTERS_BYTES && self.bits == 8 {
            sum = isa.add_int(sum, isa.splat_int(lacking));
        }
        bits(isa, isa.to_f32(sum))
    }
}

/// The sums that [`Dots`] stands for, in arithmetic that cannot overflow.
fn exact(start: i32, terms: &[([u8; 4 * LANES], [i8; 4])]) -> [u32; LANES] {
    std::array::from_fn(|l| {
        let products = |(w, x): &([u8; 4 * LANES], [i8; 4])| {
            (0..4)
                .map(|j| i64::from(w[4 * l + j]) * i64::from(x[j]))
                .sum::<i64>()
        };
        ((i64::from(start) + terms.iter().map(products).sum::<i64>()) as f32).to_bits()
    })
}

/// Bytes that went through [`Isa::field`] and [`Isa::or`], seen through products with 1, 0, 0, 0 and so on.
#[derive(Clone, Copy)]
struct Fields<'a> {
    a: &'a [u8; 4 * LANES],
    b: &'a [u8; 4 * LANES],
    shift: i32,
    mask: u8,
}

impl Kernel for Fields<'_> {
    type Output = [[u32; LANES]; 4];

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let field = isa.field(isa.load_bytes(self.a), self.shift, self.mask);
        seen(isa, isa.or(field, isa.load_bytes(self.b)))
    }
}

/// Bytes looked up by [`Isa::lookup`], seen as [`Fields`] are.
#[derive(Clone, Copy)]
struct Lookup<'a> {
    table: &'a [u8; 16],
    places: &'a [u8; 4 * LANES],
}

impl Kernel for Lookup<'_> {
    type Output = [[u32; LANES]; 4];

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let w = isa.lookup(self.table, isa.load_bytes(self.places));
        seen(isa, w)
    }
}

/// Bytes that are loaded and written again.
#[derive(Clone, Copy)]
struct StoredBytes<'a>(&'a [u8; 4 * LANES]);

impl Kernel for StoredBytes<'_> {
    type Output = [u8; 4 * LANES];

    #[inline(always)]
    fn call<S: Isa>(self, isa: S) -> Self::Output {
        let mut out = [0; 4 * LANES];
        isa.store_bytes(isa.load_bytes(self.0), &mut out);
        out
    }
}

/// The bytes of each lane.
#[inline(always)]
fn seen<S: Isa>(isa: S, w: S::B) -> [[u32; LANES]; 4] {
    let mut seen = [[0; LANES]; 4];
    for j in 0..4 {
        let mut one = [0; 4];
        one[j] = 1;
        let mut sum = isa.end(isa.dot(isa.begin(), w, one, 8), 8);
        if S::CENTERS_BYTES {
            sum = isa.add_int(sum, isa.splat_int(128));
        }
        seen[j] = bits(isa, isa.to_f32(sum));
    }
    seen
}

fn bytes64() -> impl Strategy<Value = [u8; 4 * LANES]> {
    (uniform32(any::<u8>()), uniform32(any::<u8>())).prop_map(|(a, b)| {
        let mut all = [0; 4 * LANES];
        all[..32].copy_from_slice(&a);
        all[32..].copy_from_slice(&b);
        all
    })
}

/// Numbers of every size, zeros, infinities, denormals and NaN.
fn floats() -> impl Strategy<Value = [f32; LANES]> {
    uniform16(prop_oneof![4 => -9f32..9.0, 1 => any::<u32>().prop_map(f32::from_bits)])
}

proptest! {
    #[test]
    fn operations_on_floats_agree(a in floats(), b in floats(), c in floats()) {
        same_at_every_level(Floats { a, b, c });
    }

    #[test]
    fn operations_on_integers_agree(a in -(1 << 30)..1 << 30, b in -(1 << 30)..1 << 30) {
        let [alone, sum] = same_at_every_level(Integers { a, b });
        prop_assert_eq!(alone, [(a as f32).to_bits(); LANES]);
        prop_assert_eq!(sum, [((a + b) as f32).to_bits(); LANES]);
    }

    #[test]
    fn loads_agree(bytes in bytes64()) {
        same_at_every_level(Loads(&bytes));
        prop_assert_eq!(same_at_every_level(StoredBytes(&bytes)), bytes);
    }

    #[test]
    fn dots_are_exact(start in -(1 << 20)..1 << 20, bits in 1u32..=8, terms in vec((bytes64(), uniform4(-MOST..=MOST)), 300)) {
        let below = |(w, x): ([u8; 4 * LANES], [i8; 4])| (w.map(|w| w >> (8 - bits)), x);
        let terms: Vec<_> = terms.into_iter().map(below).collect();
        for level in Level::available() {
            let terms = &terms[..level.run(Capacity(bits))];
            let got = level.run(Dots { start, bits, terms });
            prop_assert_eq!(got, exact(start, terms), "{} of {} bits", level, bits);
        }
    }

    #[test]
    fn fields_agree(a in bytes64(), b in bytes64(), (shift, mask) in shift_and_mask()) {
        let seen = same_at_every_level(Fields { a: &a, b: &b, shift, mask });
        for l in 0..LANES {
            for (j, seen) in seen.iter().enumerate() {
                let (a, b) = (u32::from(a[4 * l + j]), b[4 * l + j]);
                let shifted = if shift < 0 { a << -shift } else { a >> shift };
                prop_assert_eq!(f32::from_bits(seen[l]), f32::from(shifted as u8 & mask | b));
            }
        }
    }
}

proptest! {
    #[test]
    fn lookups_agree(table in uniform16(any::<u8>()), places in bytes64()) {
        let places = places.map(|place| place & 15);
        let seen = same_at_every_level(Lookup { table: &table, places: &places });
        for l in 0..LANES {
            for (j, seen) in seen.iter().enumerate() {
                let expected = table[usize::from(places[4 * l + j])];
                prop_assert_eq!(f32::from_bits(seen[l]), f32::from(expected));
            }
        }
    }
}

/// A shift, and a mask of bits that it brings from the byte itself.
fn shift_and_mask() -> impl Strategy<Value = (i32, u8)> {
    (-7i32..=7, any::<u8>()).prop_map(|(shift, mask)| {
        let from_itself = if shift < 0 { 0xff << -shift } else { 0xff >> shift };
        (shift, mask & from_itself as u8)
    })
}

/// The largest sums of either sign that the contract allows, as many as a level takes: nothing saturates.
#[test]
fn dots_hold_their_capacity() {
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
                    let terms = vec![([w; 4 * LANES], x); level.run(Capacity(bits))];
                    let got = level.run(Dots {
                        start: 0,
                        bits,
                        terms: &terms,
                    });
                    assert_eq!(got, exact(0, &terms), "{level}: {w} of {bits} bits by {x:?}");
                }
            }
        }
    }
}

/// Every f16 and bf16 there is, NaN included.
#[test]
fn all_halves_load_alike() {
    for first in (0..=u16::MAX).step_by(LANES) {
        let mut bytes = [0; 4 * LANES];
        for (l, half) in bytes[..2 * LANES].as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *half = (first + l as u16).to_le_bytes();
        }
        same_at_every_level(Loads(&bytes));
    }
}

/// Each lane's own neighbours add up in the documented tree: values whose sum depends on the order.
#[test]
fn a_sum_is_the_tree_of_halves() {
    struct Sum([f32; LANES]);
    impl Kernel for Sum {
        type Output = f32;

        #[inline(always)]
        fn call<S: Isa>(self, isa: S) -> f32 {
            isa.sum(isa.load(&self.0))
        }
    }
    for l in 0..LANES {
        for m in 0..LANES {
            let mut x = [1.0; LANES];
            x[l] = 1e9;
            x[m] = -1e9;
            let mut tree = x;
            for half in [8, 4, 2, 1] {
                for l in 0..half {
                    tree[l] += tree[l + half];
                }
            }
            for level in Level::available() {
                assert_eq!(level.run(Sum(x)), tree[0], "{level}: {l} {m}");
            }
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
