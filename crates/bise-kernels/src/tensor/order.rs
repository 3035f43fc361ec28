//! From rotated halves to rotated neighbours: the order of the rows of Q and K within each head.
//!
//! Hugging Face rotates value `j` of a head with value `j + head_dim / 2`, the paper's code and
//! GGUF's `llama` models rotate neighbours. For `head_dim = 6`:
//!
//! ```text
//! Hugging Face   0 1 2 | 3 4 5      pairs (0, 3) (1, 4) (2, 5)
//! GGUF           0 3 1 4 2 5        the same pairs, side by side
//! ```

/// The order of a matrix's rows, as a map from a row of the matrix to one of those stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As stored.
    Same,
    /// Halves of each head of this many rows, an even number, interleaved.
    Interleaved {
        /// Rows of a head.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The stored row that is row `row`.
    #[inline(always)]
    pub fn source_row(self, row: usize) -> usize {
        match self {
            Self::Same => row,
            Self::Interleaved { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
        }
    }

    /// Whether a matrix of `rows` rows can have this order.
    pub fn fits(self, rows: usize) -> bool {
        match self {
            Self::Same => true,
            Self::Interleaved { head_dim } => {
                head_dim > 0 && head_dim.is_multiple_of(2) && rows.is_multiple_of(head_dim)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(head_dim: usize, rows: usize) -> Vec<usize> {
        (0..rows)
            .map(|row| RowOrder::Interleaved { head_dim }.source_row(row))
            .collect()
    }

    #[test]
    fn halves_become_neighbours_in_each_head() {
        assert_eq!(order(6, 12), [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert_eq!(order(2, 4), [0, 1, 2, 3]);
        assert_eq!(RowOrder::Same.source_row(9), 9);
    }

    #[test]
    fn every_row_occurs_once() {
        for head_dim in [2, 4, 12, 64, 128] {
            let mut rows = order(head_dim, head_dim * 3);
            rows.sort_unstable();
            assert!(rows.into_iter().eq(0..head_dim * 3));
        }
    }
}
