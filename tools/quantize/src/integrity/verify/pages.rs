//! Pages that no quantizer writes: what a broken download or a sparse file leaves where no hash
//! would show it.
//!
//! Files are written in pages of 4 KB. A page that is missing reads as the same byte all over,
//! mostly 0, and one that was written to the wrong place as another page once more. Good tensors
//! have such pages too, in two ways:
//!
//! - whole rows of zeros, or the same row again, as of tokens that were added and never trained;
//! - the same matrix again, as in layers or experts that were copied.

use super::verdict::{FaultKind, Verdict};
use bise_format::gguf::{Gguf, TensorInfo};
use bise_kernels::mmap::FileBytes;
use rayon::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Bytes of a row that may happen to be like its neighbour's, and at most an eighth of it.
const SLACK: usize = 16;

/// A tensor of several rows.
struct Matrix<'a> {
    info: &'a TensorInfo,
    bytes: &'a [u8],
    /// Where it begins in the file.
    start: usize,
    /// Bytes of a row.
    row: usize,
}

/// A page of a tensor.
#[derive(Clone, Copy)]
struct Page {
    hash: u64,
    /// Which tensor.
    matrix: usize,
    /// Where in the tensor.
    at: usize,
}

/// Finds what is left of pages that were not written, or not where they belong.
pub(super) fn check(file: &FileBytes, gguf: &Gguf, verdict: &mut Verdict) {
    let before = verdict.faults.len();
    let matrices: Vec<Matrix<'_>> = gguf
        .tensors
        .values()
        .filter_map(|t| matrix(file, gguf, t))
        .collect();
    let pages = |(i, matrix): (usize, &Matrix<'_>)| {
        let found = (runs(matrix), pages(i, matrix));
        file.release(matrix.start..matrix.start + matrix.bytes.len());
        found
    };
    let found: Vec<_> = matrices.par_iter().enumerate().map(pages).collect();
    let mut all = Vec::new();
    for (matrix, (runs, pages)) in matrices.iter().zip(found) {
        if matches!(&runs[..], [run] if *run == (0..matrix.bytes.len())) {
            let what = format!(
                "tensor {}: all of its bytes are {}",
                matrix.info.name, matrix.bytes[0]
            );
            verdict.unchecked.push(what);
        } else if let Some(run) = runs.first() {
            let (name, more) = (&matrix.info.name, runs.len() - 1);
            let (from, byte) = (matrix.start + run.start, matrix.bytes[run.start]);
            let more = if more > 0 {
                format!(", and {more} more such stretches")
            } else {
                String::new()
            };
            let what = format!(
                "tensor {name}: the {} bytes from byte {from} of the file on are all {byte}, and no whole rows: they were \
                 never written{more}",
                run.len()
            );
            verdict.fault(FaultKind::Hole, what);
        }
        all.extend(pages);
    }
    repeated(&matrices, all, verdict);
    verdict.good_since(
        before,
        "no page of the tensors is empty or another once more".to_owned(),
    );
}

fn matrix<'a>(file: &'a FileBytes, gguf: &Gguf, info: &'a TensorInfo) -> Option<Matrix<'a>> {
    let bytes = gguf.bytes(file, info);
    let row = info.dtype.bytes_for(*info.dims.first()?)? as usize;
    let start = bytes.as_ptr() as usize - file.as_ptr() as usize;
    (row > 0 && bytes.len() > row).then_some(Matrix {
        info,
        bytes,
        start,
        row,
    })
}

/// Stretches of at least a page of the same byte that are not whole rows; or the whole tensor, if
/// it is one.
fn runs(matrix: &Matrix<'_>) -> Vec<Range<usize>> {
    let (bytes, row) = (matrix.bytes, matrix.row);
    let slack = SLACK.min(row / 8);
    let mut found = Vec::new();
    let mut at = 0;
    while at + PAGE <= bytes.len() {
        // Any stretch of two half pages has one that begins at a multiple of half a page.
        let half = &bytes[at..at + PAGE / 2];
        if half.iter().any(|byte| *byte != half[0]) {
            at += PAGE / 2;
            continue;
        }
        let same = |byte: &&u8| **byte == half[0];
        let start = at - bytes[..at].iter().rev().take_while(same).count();
        let end = at + bytes[at..].iter().take_while(same).count();
        let whole = start == 0 && end == bytes.len();
        let begins = start % row == 0 || row - start % row <= slack;
        let ends = end % row <= slack;
        if end - start >= PAGE && (whole || !(begins && ends)) {
            found.push(start..end);
        }
        at = end.next_multiple_of(PAGE / 2).max(at + PAGE / 2);
    }
    found
}

/// The pages of the file that lie in the tensor, but those that consist of one block over and over.
fn pages(index: usize, matrix: &Matrix<'_>) -> Vec<Page> {
    let first = matrix.start.next_multiple_of(PAGE) - matrix.start;
    let block = matrix.info.dtype.block_bytes();
    let whole = matrix.bytes.get(first..).unwrap_or_default().chunks_exact(PAGE);
    let with_place = whole.enumerate().map(|(i, page)| (first + i * PAGE, page));
    let varied = with_place.filter(|(_, page)| page[block..] != page[..PAGE - block]);
    let hashed = varied.map(|(at, page)| {
        let mut hasher = DefaultHasher::new();
        page.hash(&mut hasher);
        Page {
            hash: hasher.finish(),
            matrix: index,
            at,
        }
    });
    hashed.collect()
}

/// Names the pages that are there twice for no good reason, one of each tensor.
fn repeated(matrices: &[Matrix<'_>], mut pages: Vec<Page>, verdict: &mut Verdict) {
    pages.par_sort_unstable_by_key(|page| (page.hash, page.matrix, page.at));
    let mut told = vec![false; matrices.len()];
    for same in pages.chunk_by(|a, b| a.hash == b.hash) {
        for page in &same[1..] {
            let (one, other) = (&matrices[same[0].matrix], &matrices[page.matrix]);
            if !told[page.matrix] && !is_copy(one, same[0].at, other, page.at) {
                told[page.matrix] = true;
                verdict.fault(
                    FaultKind::Hole,
                    format!(
                        "tensor {}: the {PAGE} bytes from byte {} of the file on are those from byte {} on, in tensor {}: one \
                         of them was written to the wrong place",
                        other.info.name,
                        other.start + page.at,
                        one.start + same[0].at,
                        one.info.name
                    ),
                );
            }
        }
    }
}

/// Whether the rows around two equal pages are equal too, which makes them copies of rows or of a
/// matrix.
fn is_copy(one: &Matrix<'_>, a: usize, other: &Matrix<'_>, b: usize) -> bool {
    let rows = |at: usize, row: usize| at / row * row..(at + PAGE).next_multiple_of(row);
    one.row == other.row
        && one.info.dtype == other.info.dtype
        && a % one.row == b % other.row
        && one.bytes.get(rows(a, one.row)) == other.bytes.get(rows(b, other.row))
}
