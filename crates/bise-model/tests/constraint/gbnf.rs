//! GBNF grammars against a matcher that tries everything.

use super::writers;
use bise_model::constraint::Grammar;

/// llama.cpp's kind of grammar for JSON, and others with what Lark would split otherwise.
const GRAMMARS: [(&str, &str); 4] = [
    // A text that begins like a character of the class before it.
    ("root ::= [a-z]* \"ab\" [0-9]{2,3}", "^[a-z]*ab[0-9]{2,3}$"),
    (
        "root ::= (\"x\" | \"xy\" | \"xyz\") \"yz\"? | \"\"",
        "^(?:(?:x|xy|xyz)(?:yz)?)?$",
    ),
    (
        "# words\nroot ::= Word (\" \" word)+ # two or more\nWord ::= [A-Z] word\nword ::=\n  [a-z]+ |\n  \"\\\"\" [^\"\\n]{1,4} \"\\\"\"",
        "^[A-Z](?:[a-z]+|\"[^\"\\n]{1,4}\")(?: (?:[a-z]+|\"[^\"\\n]{1,4}\"))+$",
    ),
    ("root ::= .{3} \"\\u00e9\\x41\"", "^(?s:.{3})\u{e9}A$"),
];

#[test]
fn texts_are_those_of_the_grammar() {
    for (gbnf, expression) in GRAMMARS {
        let regex = regex::Regex::new(expression).unwrap();
        for seed in 0..6 {
            for writer in writers() {
                let (text, complete) = writer.write(&Grammar::from_text(gbnf), seed, 60).unwrap();
                assert!(!complete || regex.is_match(&text), "{gbnf}: {text}");
            }
        }
    }
}

/// Every text of the grammar is let through, also those that a lexer of longest terminals would not
/// see.
#[test]
fn all_texts_of_the_grammar_are_let_through() {
    for (gbnf, text) in [
        (GRAMMARS[0].0, "ab12"),
        (GRAMMARS[0].0, "ababab123"),
        (GRAMMARS[1].0, ""),
        (GRAMMARS[1].0, "xyz"),
        (GRAMMARS[1].0, "xyzyz"),
        (GRAMMARS[1].0, "xyyz"),
        (GRAMMARS[2].0, "Aword \"o ne\" three"),
        (GRAMMARS[3].0, "\n\u{1f600} \u{e9}A"),
    ] {
        assert!(
            writers()[0].accepts(&Grammar::from_text(gbnf), text),
            "{gbnf}: {text}"
        );
    }
    assert!(!writers()[0].accepts(&Grammar::from_text(GRAMMARS[1].0), "xz"));
}

#[test]
fn json_as_gbnf() {
    let gbnf = r#"root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}"#;
    for seed in 0..4 {
        for writer in writers() {
            let (text, complete) = writer.write(&Grammar::from_text(gbnf), seed, 60).unwrap();
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) => assert!(value.is_object()),
                // Surrogates that stand alone are JSON's, but no text's; numbers beyond f64 are
                // JSON's, but no f64.
                Err(error) => assert!(
                    !complete && error.is_eof()
                        || text.contains("\\u")
                        || error.to_string().contains("number out of range"),
                    "{text}: {error}"
                ),
            }
        }
    }
}
