//! DRY, against its definition written out without haste.

use bise_model::sampler::{Breakers, DryOptions, SamplerOptions};
use proptest::prelude::*;

use super::{kept, off};

/// Few tokens, so that texts repeat; some are breakers, or parts of them.
const TEXTS: [&str; 8] = ["a", "b", "c", "d:", "x", "y", "\n", "e"];

fn breakers() -> Breakers {
    Breakers::new(&["\n", ":", "xyx", ""], TEXTS.iter())
}

/// Whether a breaker ends in, or lies in, the last tokens but the last `n`, and not wholly before
/// them.
fn after_breaker(history: &[u32], n: usize) -> bool {
    // The last n tokens are free of breakers when none begins or ends in them.
    let texts: Vec<&str> = history.iter().map(|&id| TEXTS[id as usize]).collect();
    let before = texts[..texts.len() - n].concat().len();
    let whole = texts.concat();
    ["\n", ":", "xyx"].iter().all(|breaker| {
        let mut ends = (0..whole.len())
            .filter(|&i| whole[i..].starts_with(breaker))
            .map(|i| i + breaker.len());
        ends.all(|end| end <= before)
    })
}

/// The penalty of `token`, by the definition.
fn penalty(options: &DryOptions, history: &[u32], token: u32, with_breakers: bool) -> f64 {
    let history = &history[history.len().saturating_sub(options.last_n)..];
    if with_breakers && breakers().breaks(token) {
        return 0.0;
    }
    let mut longest = 0;
    for at in (0..history.len()).filter(|&at| history[at] == token) {
        let matches = |n: usize| {
            n <= at
                && history[at - n..at] == history[history.len() - n..]
                && (!with_breakers || after_breaker(history, n))
        };
        longest = (0..=at).filter(|&n| matches(n)).max().unwrap_or(0).max(longest);
    }
    if longest < options.allowed_length || longest == 0 {
        return 0.0;
    }
    let more = (longest - options.allowed_length) as i32;
    f64::from(options.multiplier) * f64::from(options.base).powi(more)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn going_on_with_a_repetition_costs(
        history in prop::collection::vec(prop_oneof![3 => 0..3u32, 1 => 0..8u32], 0..40),
        (multiplier, base, allowed_length) in (0.1..2f32, 1.0..2f32, 1..4usize),
        last_n in prop_oneof![Just(usize::MAX), 0..40usize],
        with_breakers: bool,
    ) {
        let dry = DryOptions {
            multiplier, base, allowed_length, last_n,
            breakers: if with_breakers { breakers() } else { Breakers::default() },
        };
        let logits = [5.0f32; 8];
        for c in kept(SamplerOptions { dry: dry.clone(), ..off() }, &logits, &history) {
            let expected = 5.0 - penalty(&dry, &history, c.id, with_breakers);
            // pow here and powi there; the penalty is rounded to f32 before it is subtracted.
            let bound = 4.0 * f64::from(f32::EPSILON) * (5.0 + expected.abs());
            prop_assert!((f64::from(c.logit) - expected).abs() <= bound, "token {}: {} not {expected}", c.id, c.logit);
        }
    }
}

/// A text of one token again and again is the worst case of the naive search: here it takes linear
/// time.
#[test]
fn a_long_history_is_searched_quickly() {
    let history = vec![0u32; 200_000];
    let dry = DryOptions {
        multiplier: 1.0,
        base: 1.0,
        breakers: breakers(),
        ..DryOptions::default()
    };
    let options = SamplerOptions { dry, ..off() };
    let start = std::time::Instant::now();
    let found = kept(options, &[1.0, 1.0], &history);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!(found.iter().find(|c| c.id == 0).unwrap().logit, 0.0);
}
