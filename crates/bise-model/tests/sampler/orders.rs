//! The chain's order and its names.

use bise_model::sampler::{SamplerError, SamplerKind, SamplerOptions};

use super::laws::kept_ids;
use super::off;

#[test]
fn names_are_read_as_users_write_them() {
    use SamplerKind::{Dry, MinP, Mirostat, Temperature, TopK, TopP, Typical};
    let cases: [(&str, &[SamplerKind]); 5] = [
        ("top-k;top-p;temperature", &[TopK, TopP, Temperature]),
        ("Top_K, nucleus ,typ_p;TEMP", &[TopK, TopP, Typical, Temperature]),
        ("dry;min_p;mirostat", &[Dry, MinP, Mirostat]),
        ("", &[]),
        (";;", &[]),
    ];
    for (list, expected) in cases {
        assert_eq!(SamplerKind::parse_list(list).unwrap(), expected, "{list}");
    }
    assert_eq!(
        SamplerKind::parse_list(&SamplerKind::names()).unwrap()[..8],
        SamplerKind::DEFAULT
    );
}

#[test]
fn unknown_names_are_refused_with_the_list() {
    let error = SamplerKind::parse_list("top-k;top-z").unwrap_err();
    assert_eq!(
        error,
        SamplerError::Kind {
            found: "top-z".into()
        }
    );
    let message = error.to_string();
    assert!(
        message.contains("top-z")
            && message.contains("penalties;dry;top-k;typical;top-p;min-p;xtc;temperature;mirostat")
    );
}

#[test]
fn chains_without_sense_are_refused() {
    for list in ["top-k;top-k", "mirostat;temperature"] {
        assert!(
            matches!(SamplerKind::parse_list(list), Err(SamplerError::Order { .. })),
            "{list}"
        );
    }
    let samplers = vec![SamplerKind::Mirostat, SamplerKind::TopK];
    assert!(SamplerOptions { samplers, ..off() }.chain().is_err());
}

/// At a high temperature the nucleus is larger, so it matters which comes first.
#[test]
fn the_order_matters() {
    let logits: Vec<f32> = (0..30).map(|i| -0.5 * i as f32).collect();
    let count = |samplers: &str| {
        let samplers = SamplerKind::parse_list(samplers).unwrap();
        kept_ids(
            SamplerOptions {
                samplers,
                top_p: 0.9,
                temperature: 3.0,
                ..off()
            },
            &logits,
        )
        .len()
    };
    // 1 - e^(-n/2) reaches 0.9 with five, 1 - e^(-n/6) with fourteen.
    assert_eq!(count("top-p;temperature"), 5);
    assert_eq!(count("temperature;top-p"), 14);
    assert_eq!(count("temperature"), 30, "what is not in the chain does nothing");
}
