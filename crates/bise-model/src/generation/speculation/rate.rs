//! How often drafts are right.

/// A share of events, of which the last count most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    hits: f64,
    all: f64,
}

impl Rate {
    /// How much an event counts after the next one.
    const FADE: f64 = 0.95;

    /// As if two events had had this share.
    pub fn new(share: f64) -> Self {
        Self {
            hits: 2.0 * share,
            all: 2.0,
        }
    }

    pub fn observe(&mut self, hit: bool) {
        self.hits = self.hits * Self::FADE + f64::from(u8::from(hit));
        self.all = self.all * Self::FADE + 1.0;
    }

    pub fn share(self) -> f64 {
        self.hits / self.all
    }
}
