//! What follows from a constraint, whatever the model.

use super::schemas::{old_schemas, schemas};
use super::{Writer, writers};
use bise_model::constraint::{ConstraintError, Grammar};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::Value;

/// The text that each writer writes under `grammar`, up to so many tokens, and whether it is
/// complete.
fn texts(
    grammar: &Grammar,
    seed: u64,
    tokens: usize,
) -> Result<Vec<(String, bool)>, ConstraintError> {
    writers()
        .iter()
        .map(|writer| writer.write(grammar, seed, tokens))
        .collect()
}

/// A complete text is valid; one that was cut is the beginning of JSON.
fn check(schema: &Value, text: &str, complete: bool) -> Result<(), TestCaseError> {
    let parsed = serde_json::from_str::<Value>(text);
    // JSON knows numbers that f64 does not, and of those the validator cannot tell.
    let mut numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let too_long = numbers.any(|n| n.bytes().filter(u8::is_ascii_digit).count() > 15);
    let too_large = parsed
        .as_ref()
        .is_err_and(|e| e.to_string().contains("number out of range"));
    if too_long || too_large {
        return Ok(());
    }
    if complete {
        let value = parsed.map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .unwrap();
        let invalid = validator.validate(&value).err().map(|e| e.to_string());
        prop_assert!(invalid.is_none(), "{}: {:?}", text, invalid);
    } else if let Err(error) = parsed {
        prop_assert!(error.is_eof(), "{}: {}", text, error);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_global_rejects: 5000, ..ProptestConfig::default() })]

    #[test]
    fn texts_under_a_schema_are_valid(schema in schemas(), seed: u64) {
        check_texts(&schema, seed)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_global_rejects: 5000, ..ProptestConfig::default() })]

    #[test]
    fn texts_under_an_old_schema_are_valid(schema in old_schemas(), seed: u64) {
        check_texts(&schema, seed)?;
    }
}

/// What all writers write is valid, and whole if there was room for it.
fn check_texts(schema: &Value, seed: u64) -> Result<(), TestCaseError> {
    let grammar = Grammar::JsonSchema(schema.to_string());
    let found = match texts(&grammar, seed, 80) {
        // Some schemas describe nothing at all.
        Err(ConstraintError::Grammar { problem, .. }) if problem.contains("nsatisfiable") => {
            return Err(TestCaseError::reject("unsatisfiable"));
        }
        found => found.map_err(|e| TestCaseError::fail(e.to_string()))?,
    };
    for (text, complete) in found {
        check(schema, &text, complete)?;
    }
    Ok(())
}

/// Every keyword that the parser knows is drawn, and what it does not know is refused.
#[test]
fn all_keywords_are_drawn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut drawn = String::new();
    for _ in 0..300 {
        drawn += &schemas().new_tree(&mut runner).unwrap().current().to_string();
        drawn += &old_schemas().new_tree(&mut runner).unwrap().current().to_string();
    }
    for keyword in [
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "const",
        "enum",
        "type",
        "items",
        "additionalItems",
        "prefixItems",
        "minItems",
        "maxItems",
        "properties",
        "additionalProperties",
        "patternProperties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ] {
        assert!(drawn.contains(&format!("\"{keyword}\":")), "{keyword}");
    }
    for unknown in [
        "not",
        "if",
        "uniqueItems",
        "contains",
        "dependentRequired",
        "propertyNames",
        "unevaluatedItems",
    ] {
        let schema = format!(r#"{{"type": "object", "{unknown}": {{}}}}"#);
        let error = writers()[0]
            .write(&Grammar::JsonSchema(schema), 1, 5)
            .unwrap_err()
            .to_string();
        assert!(error.contains(unknown), "{error}");
    }
}

#[test]
fn json_mode_gives_an_object() {
    for seed in 0..4 {
        for (text, complete) in texts(&Grammar::JsonObject, seed, 60).unwrap() {
            assert!(text.starts_with('{'), "{text}");
            check(&serde_json::json!({"type": "object"}), &text, complete).unwrap();
        }
    }
}

#[test]
fn texts_match_the_whole_expression() {
    for expression in [
        "[a-f]{3}-(one|two)?\\d+",
        "(\u{e9}t\u{e9}|\u{4f60}\u{597d}|\u{1f600}){2}",
        "a*b",
        " leading and trailing ",
    ] {
        let regex = regex::Regex::new(&format!("^(?:{expression})$")).unwrap();
        for seed in 0..4 {
            for (text, complete) in texts(&Grammar::Regex(expression.into()), seed, 60).unwrap() {
                assert!(!complete || regex.is_match(&text), "{expression}: {text}");
            }
        }
    }
}

#[test]
fn texts_follow_a_lark_grammar() {
    let lark =
        "start: sum\nsum: term (\"+\" term)*\nterm: NUMBER | \"(\" sum \")\"\nNUMBER: /[0-9]+/\n";
    for seed in 0..4 {
        for (text, complete) in texts(&Grammar::from_text(lark), seed, 40).unwrap() {
            assert!(text.chars().all(|c| "+()0123456789".contains(c)), "{text}");
            let balance = text.matches('(').count() as isize - text.matches(')').count() as isize;
            assert!(balance >= 0 && (!complete || balance == 0), "{text}");
        }
    }
}

/// Rejected drafts leave no trace: the mask depends on the history alone.
#[test]
fn the_history_may_go_back() {
    let grammar =
        Grammar::JsonSchema(r#"{"type":"array","items":{"type":"integer"},"maxItems":9}"#.into());
    Writer::check_rollback(&grammar);
}

#[test]
fn bad_grammars_are_refused_with_their_place() {
    let cases = [
        (
            Grammar::Regex("a(b".into()),
            "regular expression",
            "unclosed group",
        ),
        (
            Grammar::JsonSchema("{\"type\": ".into()),
            "schema is not JSON",
            "line 1",
        ),
        (
            Grammar::JsonSchema("{\"type\": \"strange\"}".into()),
            "JSON schema",
            "strange",
        ),
        (Grammar::JsonSchema("{\"not\": {}}".into()), "JSON schema", "not"),
        (
            Grammar::JsonSchema("{\"$ref\": \"#/$defs/none\"}".into()),
            "JSON schema",
            "none",
        ),
        (Grammar::Lark("start: word".into()), "Lark grammar", "word"),
        (Grammar::Lark("start: \"a\" )".into()), "Lark grammar", "1("),
        (Grammar::Gbnf("root ::= word".into()), "line 1, column 10", "word"),
    ];
    for (grammar, kind, words) in cases {
        let error = writers()[0].write(&grammar, 1, 5).unwrap_err().to_string();
        assert!(
            error.contains(kind) && error.contains(words),
            "{grammar:?}: {error}"
        );
        assert!(!error.contains("backtrace"), "{error}");
    }
}

/// A key comes once, where keys are free, few, spelled with escapes, or in objects inside.
#[test]
fn keys_come_once() {
    for schema in [
        r#"{"type":"object","patternProperties":{"^[yz]$":{"type":"boolean"}},"additionalProperties":false,"minProperties":2}"#,
        r#"{"type":"object","additionalProperties":{"type":"null"},"minProperties":3,"maxProperties":3}"#,
        r#"{"type":"array","items":{"type":"object","patternProperties":{"^a{1,2}$":{"type":"null"}},
            "additionalProperties":false,"minProperties":2},"minItems":1,"maxItems":2}"#,
    ] {
        let value: Value = serde_json::from_str(schema).unwrap();
        for seed in 0..4 {
            for (text, complete) in
                texts(&Grammar::JsonSchema(schema.to_owned()), seed, 60).unwrap()
            {
                check(&value, &text, complete).unwrap();
            }
        }
    }
}

/// Compact and indented JSON can be written, and no white space without an end.
#[test]
fn white_space_has_an_end() {
    let writer = &writers()[0];
    for (text, good) in [
        (r#"{"a":1,"b":[true]}"#, true),
        (r#"{"a": 1, "b": [true]}"#, true),
        ("{\n  \"a\": 1,\n  \"b\": [\n    true\n  ]\n}", true),
        ("{\n\t\"a\": 1\n}", true),
        (r#"{  "a":1}"#, false),
        ("{\n\n\"a\":1}", false),
    ] {
        assert_eq!(writer.accepts(&Grammar::JsonObject, text), good, "{text}");
    }
}
