//! The exponential: one fixed sequence of operations, the same on every machine.

/// `e^x` within 2 units in the last place for `-87 <= x <= 88`; 0 below, infinite above, NaN for
/// NaN.
///
/// ```text
/// n = round(x / ln 2)     r = x - n ln 2     e^x = 2^n (1 + r + r^2 p(r))
/// ```
/// `n` comes from adding and taking away 1.5 * 2^23, `ln 2` is split in two so that `n ln 2` is
/// exact, and `p` is the Taylor polynomial, whose remainder for `|r| <= ln 2 / 2` is below `r^8 /
/// 8! < 6e-9`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let p = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let p = r.mul_add(p, 1.0 / 120.0);
    let p = r.mul_add(p, 1.0 / 24.0);
    let p = r.mul_add(p, 1.0 / 6.0);
    let p = r.mul_add(p, 0.5);
    let p = (r * r).mul_add(p, r) + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < -87.0 {
        0.0
    } else if x > 88.0 {
        f32::INFINITY
    } else {
        p * power
    }
}
