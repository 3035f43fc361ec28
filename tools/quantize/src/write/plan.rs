//! How a file is cut for the pipeline.

use bise_format::gguf::Layout;
use std::ops::Range;

/// Values in a slab, if rows are no longer than that.
const SLAB: u64 = 1 << 19;

/// Some rows of a tensor: what is made, hashed, written and recorded at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slab {
    /// Which tensor.
    pub tensor: usize,
    pub rows: Range<u64>,
    /// Where in the file.
    pub offset: u64,
    /// In the file.
    pub len: usize,
    /// Whether it is its matrix's last.
    pub ends_matrix: bool,
}

/// All slabs of a file, in its order.
#[derive(Debug)]
pub(crate) struct Plan {
    pub slabs: Vec<Slab>,
}

impl Plan {
    pub(crate) fn new(layout: &Layout) -> Self {
        let mut slabs = Vec::new();
        for (tensor, info) in layout.tensors().values().enumerate() {
            let columns = info.dims[0];
            let rows = info.dims.get(1).copied().unwrap_or(1);
            let step = (SLAB / columns).max(1);
            let row_len = info.dtype.bytes_for(columns).expect("rows are whole blocks");
            let all: u64 = info.dims[1..].iter().product();
            for matrix in (0..all).step_by(rows as usize) {
                let end = matrix + rows;
                slabs.extend((matrix..end).step_by(step as usize).map(|first| {
                    let rows = first..(first + step).min(end);
                    Slab {
                        tensor,
                        offset: layout.data_offset() + info.offset + first * row_len,
                        len: ((rows.end - first) * row_len) as usize,
                        ends_matrix: rows.end == end,
                        rows,
                    }
                }));
            }
        }
        Self { slabs }
    }
}
