//! Scales and levels for super-blocks of 256 values: what the K formats share.

use half::f16;

/// A super-block as integers: `x = d * scale[g] * q[i] - dmin * min[g]` for value `i` of group `g`.
pub(super) struct SuperBlock {
    pub d: f16,
    pub dmin: f16,
    pub scale: [i8; 16],
    pub min: [i8; 16],
    pub q: [i8; 256],
}

/// Levels `0..=levels`, scales and minima `0..=steps`, for groups of `G`.
pub(super) fn affine<const G: usize>(x: &[f32], _: Option<&[f32]>, levels: i8, steps: i8) -> SuperBlock {
    let (mut scales, mut mins) = ([0f32; 16], [0f32; 16]);
    for (g, x) in x.chunks_exact(G).enumerate() {
        let (least, greatest) = super::range(x);
        mins[g] = -least.min(0.0);
        scales[g] = (greatest.max(0.0) + mins[g]) / f32::from(levels);
    }
    let top = |v: &[f32; 16]| f16::from_f32(v.iter().fold(0f32, |a, &b| a.max(b)) / f32::from(steps));
    let (d, dmin) = (top(&scales), top(&mins));
    let step = |v: f32, d: f16| {
        (v * super::reciprocal(d.to_f32()))
            .round()
            .clamp(0.0, f32::from(steps)) as i8
    };
    let scale = scales.map(|s| step(s, d));
    let min = mins.map(|m| step(m, dmin));
    let mut q = [0; 256];
    for (i, q) in q.iter_mut().enumerate() {
        let (s, m) = (
            d.to_f32() * f32::from(scale[i / G]),
            dmin.to_f32() * f32::from(min[i / G]),
        );
        *q = ((x[i] + m) * super::reciprocal(s))
            .round()
            .clamp(0.0, f32::from(levels)) as i8;
    }
    SuperBlock {
        d,
        dmin,
        scale,
        min,
        q,
    }
}

/// Levels `-levels..levels`, scales `-steps..steps`, no minima, for groups of 16.
pub(super) fn symmetric(x: &[f32], _: Option<&[f32]>, levels: i8, steps: u8) -> SuperBlock {
    let mut scales = [0f32; 16];
    for (scale, x) in scales.iter_mut().zip(x.chunks_exact(16)) {
        *scale = super::extreme(x) / -f32::from(levels);
    }
    let steps = f32::from(steps);
    let d = f16::from_f32(super::extreme(&scales) / -steps);
    let inverse = super::reciprocal(d.to_f32());
    let scale = scales.map(|s| (s * inverse).round().clamp(-steps, steps - 1.0) as i8);
    let mut q = [0; 256];
    for (i, q) in q.iter_mut().enumerate() {
        let inverse = super::reciprocal(d.to_f32() * f32::from(scale[i / 16]));
        *q = (x[i] * inverse)
            .round()
            .clamp(-f32::from(levels), f32::from(levels) - 1.0) as i8;
    }
    SuperBlock {
        d,
        dmin: f16::ZERO,
        scale,
        min: [0; 16],
        q,
    }
}
