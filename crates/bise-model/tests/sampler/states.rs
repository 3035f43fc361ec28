//! Random numbers by place, and samplers that go on where others were.

use bise_model::sampler::{
    Mask, MaskError, Sampler, SamplerError, SamplerKind, SamplerOptions, SamplerState,
};
use proptest::prelude::*;

use super::off;

/// All that is random, and all that learns.
fn options(seed: u64, mirostat: bool) -> SamplerOptions {
    let samplers = if mirostat {
        &SamplerKind::MIROSTAT[..]
    } else {
        &SamplerKind::DEFAULT[..]
    };
    SamplerOptions {
        seed: Some(seed),
        xtc_probability: 0.5,
        repeat_penalty: 1.1,
        samplers: samplers.to_vec(),
        ..off()
    }
}

/// Logits that change with the history.
fn logits(history: &[u32]) -> Vec<f32> {
    let key = history.iter().fold(7u32, |key, &id| {
        key.wrapping_mul(2_654_435_761).wrapping_add(id + 1)
    });
    (0..50u32)
        .map(|i| (key.wrapping_mul(2 * i + 1) >> 20) as f32 / 800.0)
        .collect()
}

fn go_on(sampler: &mut Sampler, history: &mut Vec<u32>, tokens: usize) {
    for _ in 0..tokens {
        let token = sampler.sample(&logits(history), history).unwrap();
        history.push(token);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// A sampler that is put back draws again what it drew, whatever was drawn in between.
    #[test]
    fn rejected_branches_leave_no_trace(seed: u64, mirostat: bool, before in 0..20usize, branch in 0..20usize) {
        let mut sampler = Sampler::new(options(seed, mirostat)).unwrap();
        let mut history = vec![3];
        go_on(&mut sampler, &mut history, before);
        let (state, at) = (sampler.state(), history.len());
        let mut expected = history.clone();
        go_on(&mut sampler, &mut expected, 10);

        let mut other = history.clone();
        other.push(49);
        go_on(&mut sampler, &mut other, branch);
        sampler.restore(&state).unwrap();
        go_on(&mut sampler, &mut history, 10);
        prop_assert_eq!(&history[at..], &expected[at..]);
    }

    /// Another sampler goes on from the state's bytes as if it had never stopped.
    #[test]
    fn a_state_survives_as_bytes(seed: u64, mirostat: bool, before in 0..20usize) {
        let mut sampler = Sampler::new(options(seed, mirostat)).unwrap();
        let mut history = vec![3];
        go_on(&mut sampler, &mut history, before);
        let bytes = sampler.state().to_bytes();
        let mut resumed = Sampler::new(options(seed ^ 1, mirostat)).unwrap();
        resumed.restore(&SamplerState::from_bytes(&bytes).unwrap()).unwrap();
        prop_assert_eq!(resumed.seed(), seed);
        let mut again = history.clone();
        go_on(&mut sampler, &mut history, 10);
        go_on(&mut resumed, &mut again, 10);
        prop_assert_eq!(history, again);
    }

    /// Token `i` depends on the seed and on `i`, not on what was sampled before.
    #[test]
    fn tokens_are_drawn_by_their_place(seed: u64, order in Just((0..20u64).collect::<Vec<_>>()).prop_shuffle()) {
        let mut in_order = Sampler::new(options(seed, false)).unwrap();
        let history = [1, 2, 3];
        let logits = logits(&history);
        let expected: Vec<u32> = (0..20).map(|_| in_order.sample(&logits, &history).unwrap()).collect();
        let mut by_place = Sampler::new(options(seed, false)).unwrap();
        for &place in &order {
            prop_assert_eq!(by_place.sample_at(place, &logits, &history).unwrap(), expected[place as usize]);
        }
    }

    #[test]
    fn damaged_states_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(state) = SamplerState::from_bytes(&bytes) {
            prop_assert_eq!(state.to_bytes(), bytes);
        }
    }
}

#[test]
fn a_state_of_another_chain_is_refused() {
    let state = Sampler::new(options(1, true)).unwrap().state();
    let mut other = Sampler::new(options(2, false)).unwrap();
    assert!(matches!(other.restore(&state), Err(SamplerError::State { .. })));
    assert_eq!(other.seed(), 2);
}

/// Allows even tokens, up to a length.
#[derive(Debug)]
struct Even(usize);

impl Mask for Even {
    fn look(&mut self, history: &[u32]) -> Result<(), MaskError> {
        if history.len() > self.0 {
            Err(MaskError::new("the text has ended"))
        } else {
            Ok(())
        }
    }

    fn allows(&self, token: u32) -> bool {
        token.is_multiple_of(2)
    }
}

#[test]
fn a_mask_lets_through_what_it_allows() {
    let mut sampler = Sampler::new(options(3, false)).unwrap();
    sampler.set_mask(Some(Box::new(Even(30))));
    let mut history = vec![3];
    go_on(&mut sampler, &mut history, 30);
    assert!(history[1..].iter().all(|token| token % 2 == 0));
    let error = sampler.sample(&logits(&history), &history).unwrap_err();
    assert_eq!(error, SamplerError::Mask(MaskError::new("the text has ended")));
    assert_eq!(error.to_string(), "the text has ended");
    assert!(matches!(
        sampler.sample(&[f32::NEG_INFINITY, 1.0], &[]),
        Err(SamplerError::NoCandidate { tokens: 2 })
    ));
}
