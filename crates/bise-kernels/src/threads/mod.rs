//! Threads: one pool, and work split so that no two threads write the same values.
//!
//! Work is divided over rows and columns of results, never within a sum, so that the number of
//! threads cannot change a bit.

mod cores;

pub use cores::usable_cores;

use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;
use std::slice::from_ref;

/// A pool of worker threads.
pub struct Threads(rayon::ThreadPool);

impl Threads {
    /// A pool of `count` threads, at least one.
    ///
    /// # Errors
    /// When the system refuses to start the threads.
    pub fn new(count: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(count.max(1))
            .build()
            .map(Self)
    }

    /// Threads in the pool.
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` on the pool: the functions of this module, called from `work`, use its threads.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }
}

/// Calls `task(i)` for every `i` below `count`, on all threads.
pub fn for_each(count: usize, task: impl Fn(usize) + Sync + Send) {
    (0..count).into_par_iter().for_each(task);
}

/// Calls `task(i)` once on each thread of the current pool, `i` counting them; gives all results.
pub fn on_each_thread<T: Send>(task: impl Fn(usize) -> T + Sync) -> Vec<T> {
    rayon::broadcast(|thread| task(thread.index()))
}

/// Cuts `out` into pieces of up to `width` values and calls `task(i, piece)` for each, on all
/// threads.
pub fn for_each_piece<T: Send>(
    out: &mut [T],
    width: usize,
    task: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    out.par_chunks_mut(width)
        .enumerate()
        .for_each(|(i, piece)| task(i, piece));
}

/// Cuts the row-major matrix `out`, `columns` wide, into strips of up to `width` columns and calls
/// `task(first_column, strip)` for each, on all threads.
///
/// # Panics
/// When `out` is not whole rows.
pub fn for_each_strip(
    out: &mut [f32],
    columns: usize,
    width: usize,
    task: impl Fn(usize, Strip<'_>) + Sync + Send,
) {
    let rows = 0..out.len().checked_div(columns).unwrap_or(0);
    for_each_block(out, columns, from_ref(&rows), width, |_, first, strip| {
        task(first, strip)
    });
}

/// Cuts blocks of rows of the row-major matrix `out`, `columns` wide, into strips of up to `width`
/// columns and calls `task(first_row, first_column, strip)` for each, on all threads. `blocks` are
/// ascending ranges of rows; rows in none of them are left alone.
///
/// # Panics
/// When `out` is not whole rows, a strip is empty, or the blocks overlap or are not rows of `out`.
pub fn for_each_block(
    out: &mut [f32],
    columns: usize,
    blocks: &[Range<usize>],
    width: usize,
    task: impl Fn(usize, usize, Strip<'_>) + Sync + Send,
) {
    assert!(
        columns > 0 && out.len().is_multiple_of(columns),
        "{} values in rows of {columns}",
        out.len()
    );
    let mut free = 0;
    for block in blocks {
        assert!(
            free <= block.start && block.start <= block.end,
            "blocks of rows that ascend"
        );
        free = block.end;
    }
    assert!(free <= out.len() / columns, "blocks of the rows that there are");
    let matrix = Matrix(out.as_mut_ptr());
    let across = columns.div_ceil(width);
    for_each(blocks.len() * across, |i| {
        let (rows, column) = (blocks[i / across].clone(), i % across * width);
        if rows.is_empty() {
            return;
        }
        let first = rows.start;
        task(
            first,
            column,
            matrix.strip(columns, rows, column..(column + width).min(columns)),
        );
    });
}

/// The start of a matrix that several threads write.
struct Matrix(*mut f32);

// SAFETY: the pointer is only used by `Strip`s, which do not overlap, within the borrow of the
// matrix.
unsafe impl Sync for Matrix {}

impl Matrix {
    /// The part of a matrix of `columns` columns that lies in these rows and columns of it. Parts
    /// that are handed out at the same time do not overlap.
    fn strip<'a>(&self, columns: usize, rows: Range<usize>, part: Range<usize>) -> Strip<'a> {
        Strip {
            matrix: self.0,
            columns,
            first_row: rows.start,
            rows: rows.len(),
            first: part.start,
            width: part.len(),
            life: PhantomData,
        }
    }
}

/// Some neighbouring columns of a matrix, in some neighbouring rows: exclusive access to them.
pub struct Strip<'a> {
    matrix: *mut f32,
    columns: usize,
    first_row: usize,
    rows: usize,
    first: usize,
    width: usize,
    life: PhantomData<&'a mut [f32]>,
}

impl Strip<'_> {
    /// Columns in the strip.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the strip.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The strip's part of row `row`.
    ///
    /// # Panics
    /// When the strip has no such row.
    #[inline]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: row and columns lie inside the matrix, which is mutably borrowed for as long as
        // strips live; no other strip has these columns in these rows, and `&mut self` lets only
        // one row of this strip be out at a time.
        unsafe {
            let row = (self.first_row + row) * self.columns;
            std::slice::from_raw_parts_mut(self.matrix.add(row + self.first), self.width)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_written_and_nothing_else() {
        let mut out = vec![0.0; 10 * 7];
        for_each_block(&mut out, 7, &[1..2, 4..7, 7..8], 3, |first, column, mut strip| {
            for row in 0..strip.rows() {
                for (i, value) in strip.row(row).iter_mut().enumerate() {
                    *value += ((first + row) * 10 + column + i) as f32;
                }
            }
        });
        for (i, value) in out.iter().enumerate() {
            let (row, column) = (i / 7, i % 7);
            let written = row == 1 || (4..8).contains(&row);
            let expected = if written { row * 10 + column } else { 0 };
            assert_eq!(*value, expected as f32, "row {row}, column {column}");
        }
    }

    #[test]
    #[should_panic(expected = "blocks of rows that ascend")]
    fn blocks_that_overlap_are_refused() {
        for_each_block(&mut [0.0; 12], 3, &[0..2, 1..3], 3, |_, _, _| {});
    }

    #[test]
    #[should_panic(expected = "blocks of the rows that there are")]
    fn blocks_past_the_end_are_refused() {
        for_each_block(&mut [0.0; 12], 3, &[0..2, 3..5], 3, |_, _, _| {});
    }
}
