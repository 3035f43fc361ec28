//! How many drafts pay.

/// What drafts must promise beyond plain decoding to be made: estimates err.
const MARGIN: f64 = 1.05;

/// How many tokens to draft.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub drafts: usize,
    /// Tokens to expect in the time of one.
    pub rate: f64,
}

impl Plan {
    pub const NONE: Self = Self {
        drafts: 0,
        rate: 1.0,
    };

    /// The best of up to `most` drafts, when `cost` gives the time of so many in that of a batch of
    /// one; none before costs are known. With `always` it is `most` drafts.
    pub fn best(
        most: usize,
        always: bool,
        likelihood: impl Fn(usize) -> f64,
        cost: impl Fn(usize) -> Option<f64>,
    ) -> Self {
        if always && most > 0 {
            return Self {
                drafts: most,
                rate: f64::MAX,
            };
        }
        let (mut best, mut chain, mut expected) = (Self::NONE, 1.0, 1.0);
        for drafts in 1..=most {
            chain *= likelihood(drafts - 1);
            expected += chain;
            let Some(cost) = cost(drafts) else { break };
            let rate = expected / cost;
            if rate > best.rate.max(MARGIN) {
                best = Self { drafts, rate };
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_number_of_drafts() {
        let plan = |likelihood: f64, slope: f64| {
            Plan::best(16, false, |_| likelihood, |k| Some(1.0 + slope * k as f64))
        };
        assert_eq!(
            plan(0.9, 1.0).drafts,
            0,
            "a draft that costs as much as a token never pays"
        );
        assert_eq!(plan(0.05, 0.2).drafts, 0, "nor does one that is never right");
        assert_eq!(plan(1.0, 0.2).drafts, 16);
        let few = plan(0.6, 0.1);
        assert!((2..8).contains(&few.drafts) && few.rate > 1.5, "{few:?}");
        assert_eq!(
            Plan::best(16, false, |_| 1.0, |_| None).drafts,
            0,
            "nothing is known of costs"
        );
        assert_eq!(Plan::best(16, true, |_| 0.0, |_| None).drafts, 16);
        assert_eq!(Plan::best(0, true, |_| 0.0, |_| None).drafts, 0);
    }
}
