//! How much of a prompt goes into a pass beside answers that are being written.
//!
//! The time of a pass of `n` rows is taken for a line, `t(n) = a + b n`: weights are read once, and
//! each row is multiplied. The line is fitted to recent passes. Answers that wait for their next
//! token, and are read as they are written, are to wait at most [`SLOWER`] times as long as without
//! the prompt, so it gets
//!
//! ```text
//! p = (SLOWER - 1) t(d) / b        rows, beside d rows of answers
//! ```

/// How much longer a pass may take for a prompt's sake.
const SLOWER: f64 = 2.0;
/// How much a measurement counts after the next one.
const FADE: f64 = 0.95;
/// Rows of a prompt in a pass at least, so that it ends some time; and at most before passes of
/// several sizes were seen.
const LEAST: usize = 8;

/// Times of passes.
#[derive(Debug, Default)]
pub struct Pace {
    /// Sums of `w`, `w n`, `w n^2`, `w t` and `w n t` over passes, of weight `w`.
    w: f64,
    wn: f64,
    wnn: f64,
    wt: f64,
    wnt: f64,
}

impl Pace {
    /// A pass of `rows` rows took `seconds`.
    pub fn observe(&mut self, rows: usize, seconds: f64) {
        let n = rows as f64;
        // Passes of hundreds of rows would hide what few cost.
        let weight = 1.0 / (1.0 + n / 16.0);
        for (sum, new) in [
            (&mut self.w, 1.0),
            (&mut self.wn, n),
            (&mut self.wnn, n * n),
            (&mut self.wt, seconds),
            (&mut self.wnt, n * seconds),
        ] {
            *sum = *sum * FADE + weight * new;
        }
    }

    /// The line through recent passes: seconds of a pass without rows, and of each row; `None`
    /// before passes of several sizes were seen.
    fn line(&self) -> Option<(f64, f64)> {
        let spread = self.w * self.wnn - self.wn * self.wn;
        let slope = (self.w * self.wnt - self.wn * self.wt) / spread;
        let start = (self.wt - slope * self.wn) / self.w;
        let known = spread > 1e-9 * self.wnn && slope > 0.0 && start > 0.0;
        known.then_some((start, slope))
    }

    /// Rows of prompts in a pass with `answers` rows of answers, of `most` that there is room for.
    pub fn prompt_rows(&self, answers: usize, most: usize) -> usize {
        if answers == 0 {
            return most;
        }
        let rows = |(start, slope): (f64, f64)| {
            ((SLOWER - 1.0) * (start / slope + answers as f64)) as usize
        };
        self.line().map_or(LEAST, rows).max(LEAST).min(most)
    }

    /// The time of a pass of `more` rows in that of one of `rows`.
    pub fn cost(&self, rows: usize, more: usize) -> Option<f64> {
        let (start, slope) = self.line()?;
        Some((start + slope * more as f64) / (start + slope * rows as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_cut_so_that_answers_go_on() {
        let mut pace = Pace::default();
        assert_eq!(pace.prompt_rows(0, 512), 512);
        assert_eq!(pace.prompt_rows(3, 512), LEAST);
        for i in 0..200 {
            let rows = [1, 3, 20, 512][i % 4];
            pace.observe(rows, 0.045 + 0.0045 * rows as f64);
        }
        let rows = pace.prompt_rows(3, 512);
        assert!((12..=14).contains(&rows), "{rows}");
        assert_eq!(pace.prompt_rows(3, 5), 5);
        assert!((pace.cost(1, 11).unwrap() - 1.909).abs() < 0.01);
        assert_eq!(Pace::default().cost(1, 2), None);
    }
}
