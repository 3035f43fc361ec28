//! What each filter does, for all logits: penalties, bias, typical, XTC, mirostat.

use bise_model::sampler::{Sampler, SamplerKind, SamplerOptions};
use proptest::prelude::*;

use super::laws::{BOUND, kept_ids, logits, probabilities, ranked};
use super::{kept, off};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn frequency_and_presence_are_subtracted(
        logits in logits(),
        history in prop::collection::vec(0..70u32, 0..20),
        repeat_last_n in 0..25usize,
        (frequency_penalty, presence_penalty) in (-2.0..2f32, -2.0..2f32),
    ) {
        let options = SamplerOptions { repeat_last_n, frequency_penalty, presence_penalty, ..off() };
        let recent = &history[history.len().saturating_sub(repeat_last_n)..];
        for c in kept(options, &logits, &history) {
            let before = logits[c.id as usize];
            let count = recent.iter().filter(|&&id| id == c.id).count() as f32;
            let expected = if count > 0.0 { before - (count * frequency_penalty + presence_penalty) } else { before };
            prop_assert_eq!(c.logit, expected.clamp(f32::MIN, f32::MAX));
        }
    }

    /// The same tokens are penalized in the same way wherever in the chain that happens.
    #[test]
    fn penalties_do_not_depend_on_the_order_of_candidates(
        logits in logits(), history in prop::collection::vec(0..70u32, 0..20), repeat_penalty in 0.5..3f32,
    ) {
        // A top-p below but close to 1 sorts the candidates and leaves almost all.
        let options = |samplers: &str| SamplerOptions {
            repeat_penalty, top_p: 1.0 - f32::EPSILON, samplers: SamplerKind::parse_list(samplers).unwrap(), ..off()
        };
        let early = kept(options("penalties"), &logits, &history);
        for c in kept(options("top-p;penalties"), &logits, &history) {
            prop_assert!(early.contains(&c));
        }
    }

    #[test]
    fn bias_is_added_and_may_forbid(
        logits in logits(), bias in prop::collection::vec((0..70u32, prop_oneof![-9.0..9f32, Just(f32::NEG_INFINITY)]), 0..9),
    ) {
        let of = |id: u32| bias.iter().rev().find(|b| b.0 == id).map(|b| b.1);
        let allowed: Vec<u32> =
            ranked(&logits).into_iter().filter(|&id| of(id) != Some(f32::NEG_INFINITY)).collect();
        prop_assume!(!allowed.is_empty());
        let found = kept(SamplerOptions { logit_bias: bias.clone(), ..off() }, &logits, &[]);
        prop_assert_eq!(found.len(), allowed.len());
        for c in found {
            let expected = of(c.id).map_or(logits[c.id as usize], |bias| logits[c.id as usize] + bias);
            prop_assert_eq!(c.logit, expected.clamp(f32::MIN, f32::MAX));
        }
    }

    /// What is kept is closer to the entropy than what is not, reaches the mass, and without its
    /// least typical does not.
    #[test]
    fn typical_keeps_the_fewest_closest_to_the_entropy(logits in logits(), typical in 0.0..1f32) {
        let found = kept_ids(SamplerOptions { typical, ..off() }, &logits);
        let (ids, p) = (ranked(&logits), probabilities(&logits));
        let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
        let best = f64::from(logits[ids[0] as usize]);
        let log_best = p[0].ln();
        let deviation = |i: usize| (best - f64::from(logits[ids[i] as usize]) - log_best - entropy).abs();
        let is_kept = |i: &usize| found.contains(&ids[*i]);
        let (inside, outside): (Vec<_>, Vec<_>) = (0..ids.len()).partition(is_kept);
        prop_assert!(!inside.is_empty());
        let furthest = inside.iter().copied().max_by(|&a, &b| deviation(a).total_cmp(&deviation(b))).unwrap();
        // Surprises of candidates of probability 0 are as large as logits are.
        let slack = 1e3 * BOUND * (1.0 + entropy + deviation(furthest));
        for &i in &outside {
            prop_assert!(deviation(i) >= deviation(furthest) - slack);
        }
        let mass: f64 = inside.iter().map(|&i| p[i]).sum();
        prop_assert!(mass >= f64::from(typical) - BOUND, "{mass} should reach {typical}");
        // Of ties any may be the last one taken.
        let tied = |&&i: &&usize| deviation(i) >= deviation(furthest) - slack;
        let least = inside.iter().filter(tied).map(|&i| p[i]).fold(0.0, f64::max);
        prop_assert!(inside.len() == 1 || mass - least < f64::from(typical) + BOUND);
    }

    #[test]
    fn xtc_leaves_the_least_of_the_likely(logits in logits(), xtc_threshold in 0.0..=1f32) {
        let found = kept_ids(SamplerOptions { xtc_probability: 1.0, xtc_threshold, ..off() }, &logits);
        let p = probabilities(&logits);
        let gone = p.len() - found.len();
        prop_assert_eq!(&found[..], &ranked(&logits)[gone..]);
        let threshold = f64::from(xtc_threshold);
        prop_assert!(gone == 0 || p[gone] >= threshold - BOUND, "the least of the likely was taken");
        prop_assert!(gone + 1 >= p.len() || p[gone + 1] < threshold + BOUND, "a likely one was left");
    }

    #[test]
    fn mirostat_keeps_what_surprises_no_more_than_mu(logits in logits(), target in 0.05..6f32) {
        let samplers = vec![SamplerKind::Mirostat];
        let found = kept_ids(SamplerOptions { mirostat_target: target, samplers, ..off() }, &logits);
        let p = probabilities(&logits);
        prop_assert_eq!(&found[..], &ranked(&logits)[..found.len()]);
        for (i, p) in p.iter().enumerate().skip(1) {
            let surprise = -p.log2();
            let slack = if i < found.len() { 100.0 * BOUND } else { -100.0 * BOUND };
            prop_assert_eq!(i < found.len(), surprise <= 2.0 * f64::from(target) + slack, "{}", surprise);
        }
    }
}

/// XTC acts as often as it should: within four standard deviations of 4000 tokens.
#[test]
fn xtc_acts_with_its_probability() {
    let logits = [2.0, 1.9, -5.0];
    for probability in [0.0, 0.1f32, 0.5, 1.0] {
        let mut sampler = Sampler::new(SamplerOptions {
            xtc_probability: probability,
            ..off()
        })
        .unwrap();
        let n = 4000;
        let mut acted = 0;
        for _ in 0..n {
            sampler.sample(&logits, &[]).unwrap();
            acted += usize::from(sampler.candidates().len() == 2);
        }
        let expected = f64::from(probability) * f64::from(n);
        let deviation = (expected * (1.0 - f64::from(probability))).sqrt();
        assert!(
            (acted as f64 - expected).abs() <= 4.0 * deviation,
            "{acted} of {n} at {probability}"
        );
    }
}

/// Whatever the logits, the mean surprise of a long text is the target.
#[test]
fn mirostat_holds_the_surprise() {
    for target in [2.8f32, 3.2, 3.5] {
        let mut sampler = Sampler::new(SamplerOptions {
            mirostat_target: target,
            samplers: SamplerKind::MIROSTAT.to_vec(),
            ..off()
        })
        .unwrap();
        let (mut sum, n) = (0.0, 4000u32);
        for step in 0..n {
            // Now steep, now flat: an entropy of 2.6 to 5.8 bits, 1.5 to 4.4 for the best token. So
            // less than 2.4 bits on average cannot be had, nor more than 3.7.
            let slope = 0.05 + 0.4 * f64::from(step % 7) / 6.0;
            let logits: Vec<f32> = (0..200).map(|i| (-slope * f64::from(i)) as f32).collect();
            let drawn = sampler.sample(&logits, &[]).unwrap();
            let log_sum = logits.iter().map(|&l| f64::from(l).exp()).sum::<f64>().ln();
            sum += (log_sum - f64::from(logits[drawn as usize])) / std::f64::consts::LN_2;
        }
        let mean = sum / f64::from(n);
        // mu moves by the rate times the sum of the errors, and stays within the surprises there
        // are.
        assert!(
            (mean - f64::from(target)).abs() < 0.05,
            "{mean} instead of {target} bits"
        );
    }
}
