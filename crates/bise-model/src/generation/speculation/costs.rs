//! What batches cost, measured as the text is made.
//!
//! The time of a batch of `n` tokens is taken for a line, `t(n) = a + b n`, the least-squares one
//! through recent batches. Two imagined batches that cost [`SLOPE`] more a token keep the line from
//! resting on nothing: they say what to expect before longer batches have run, and again when none
//! has for long, so that an unlucky measurement is forgotten.

/// What each token adds to the time of a batch of one, before it is known.
const SLOPE: f64 = 0.2;
/// How much a measurement counts after the next one.
const FADE: f64 = 0.96;

/// Times of batches.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// Of a batch of one.
    one: Option<f64>,
    /// Sums of `w`, `w n`, `w n^2`, `w t` and `w n t` over batches, of weight `w`.
    w: f64,
    wn: f64,
    wnn: f64,
    wt: f64,
    wnt: f64,
}

impl Costs {
    /// A batch of `n` tokens took `seconds`.
    pub fn observe(&mut self, n: usize, seconds: f64) {
        if n == 1 {
            // What else the machine does adds time now and then, and never takes some away.
            let one = self.one.get_or_insert(seconds);
            *one += (seconds - *one) * if seconds < *one { 0.5 } else { 0.1 };
        }
        let (n, t) = (n as f64, seconds);
        for sum in [
            &mut self.w,
            &mut self.wn,
            &mut self.wnn,
            &mut self.wt,
            &mut self.wnt,
        ] {
            *sum *= FADE;
        }
        self.w += 1.0;
        self.wn += n;
        self.wnn += n * n;
        self.wt += t;
        self.wnt += n * t;
    }

    /// The time of a batch of `n` in batches of one; `None` before one has run.
    pub fn of(&self, n: usize) -> Option<f64> {
        let one = self.one?;
        let (near, far) = (1.0, 5.0);
        let (t_near, t_far) = (one, one * (1.0 + SLOPE * (far - near)));
        let (w, wn, wnn) = (
            self.w + 2.0,
            self.wn + near + far,
            self.wnn + near * near + far * far,
        );
        let (wt, wnt) = (self.wt + t_near + t_far, self.wnt + near * t_near + far * t_far);
        // The imagined batches keep the determinant away from 0.
        let slope = (w * wnt - wn * wt) / (w * wnn - wn * wn);
        let start = (wt - slope * wn) / w;
        Some(((start + slope * n as f64) / one).max(1.0))
    }

    /// Seconds of a batch of one.
    pub fn one(&self) -> Option<f64> {
        self.one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_unlucky_times_are_forgotten() {
        let mut costs = Costs::default();
        assert_eq!(costs.of(2), None);
        costs.observe(1, 0.1);
        let expected = costs.of(5).unwrap();
        assert!((expected - 1.8).abs() < 0.1, "{expected}");
        for i in 0..100 {
            let n = 1 + i % 8;
            costs.observe(n, 0.1 + 0.09 * (n - 1) as f64);
        }
        let dear = costs.of(9).unwrap();
        assert!((dear - 8.2).abs() < 0.8, "{dear}");
        for _ in 0..150 {
            costs.observe(1, 0.1);
        }
        let forgotten = costs.of(9).unwrap();
        assert!(forgotten < 4.0, "{forgotten}");
    }
}
