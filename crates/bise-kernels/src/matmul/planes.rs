//! Small integers packed into bytes without a bit to spare, so that whole vectors of them unpack at
//! once.
//!
//! Integers of 3, 5 and 6 bits fall into a low part of 2 or 4 bits and a high part of the rest;
//! each part is a *plane*. A plane of `p` bits for `n` integers has `m = n * p / 8` bytes, and byte
//! `j` holds integers `j, j + m, j + 2m, ...`, from its low bits up.

/// Planes are whole units of so many bytes.
const UNIT: usize = 32;

/// Bits of the first plane of integers of `bits` bits; the second plane has the rest, if any.
pub const fn low_bits(bits: u32) -> u32 {
    match bits {
        0..4 => 2,
        4..8 => 4,
        _ => 8,
    }
}

/// Packs `values`, a multiple of 128, all below `2^bits`, into `planes` (`values.len() * bits / 8`
/// bytes).
#[inline(always)]
pub fn pack(bits: u32, values: &[u8], planes: &mut [u8]) {
    let low = low_bits(bits);
    let (first, second) = planes.split_at_mut(values.len() * low as usize / 8);
    pack_plane(low, 0, values, first);
    if bits > low {
        pack_plane(bits - low, low, values, second);
    }
}

/// Packs the `width` bits of each value that start at bit `from`.
#[inline(always)]
fn pack_plane(width: u32, from: u32, values: &[u8], plane: &mut [u8]) {
    plane.fill(0);
    let mask = (0xffu32 >> (8 - width)) as u8;
    for (i, values) in values.chunks_exact(plane.len()).enumerate() {
        for (byte, value) in plane.iter_mut().zip(values) {
            *byte |= (value >> from & mask) << (i as u32 * width);
        }
    }
}

/// Reads what [`pack`] wrote.
#[inline(always)]
pub fn unpack(bits: u32, planes: &[u8], values: &mut [u8]) {
    let low = low_bits(bits);
    let (first, second) = planes.split_at(values.len() * low as usize / 8);
    unpack_plane(low, 0, first, values);
    if bits > low {
        unpack_plane(bits - low, low, second, values);
    }
}

/// Adds the `width` bits of each value that start at bit `from` to the bits below, which are there
/// already.
#[inline(always)]
fn unpack_plane(width: u32, from: u32, plane: &[u8], values: &mut [u8]) {
    let mask = (0xffu32 >> (8 - width)) as u8;
    for (i, values) in values.chunks_exact_mut(plane.len()).enumerate() {
        // Copies of whole arrays leave no doubt that a store changes no byte still to be read:
        // loops become vectors.
        for (values, bytes) in values
            .as_chunks_mut::<UNIT>()
            .0
            .iter_mut()
            .zip(plane.as_chunks::<UNIT>().0)
        {
            let (mut all, bytes) = (if from == 0 { [0; UNIT] } else { *values }, *bytes);
            for k in 0..UNIT {
                all[k] |= (bytes[k] >> (i as u32 * width) & mask) << from;
            }
            *values = all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        for bits in [2, 3, 4, 5, 6, 8] {
            let values: Vec<u8> = (0..512u32).map(|i| (i * 37 % (1 << bits)) as u8).collect();
            let (mut planes, mut found) = (vec![0; 64 * bits as usize], vec![0; 512]);
            pack(bits, &values, &mut planes);
            unpack(bits, &planes, &mut found);
            assert_eq!(found, values, "{bits} bits");
        }
    }
}
