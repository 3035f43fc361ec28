//! What a constraint costs: finding out which of Mistral's 32000 tokens may come next, for each
//! token of a text.
//!
//! The figure is the time for a whole text; `tokens` in the name says of how many. A token of a 7B
//! model takes some 130 ms on two cores.

use bise_format::gguf::Gguf;
use bise_model::constraint::{Constraint, Grammar, TokenTable};
use bise_model::sampler::Mask;
use bise_model::tokenizer::{Tokenizer, Vocabulary};
use criterion::{Criterion, criterion_group, criterion_main};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const TEXT: &str = r#"{"name": "The wind they call \"bise\"", "speed": 72.5, "tags": ["cold", "dry", "north-east"], "at": {"place": "Genève", "height": 375}, "days": [1, 2, 3, 10, 11]}"#;

const SCHEMA: &str = r#"{"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 60}, "speed": {"type": "number", "minimum": 0, "maximum": 400},
    "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z-]+$"}, "maxItems": 5},
    "at": {"type": "object", "properties": {"place": {"type": "string"}, "height": {"type": "integer"}}, "required": ["place"]},
    "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 31}}}, "required": ["name", "speed"]}"#;

const GBNF: &str = r#"root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}"#;

fn mistral() -> Tokenizer {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/tokenizer/mistral-v1.gguf.gz");
    let mut file = Vec::new();
    GzDecoder::new(File::open(path).unwrap())
        .read_to_end(&mut file)
        .unwrap();
    let metadata = Gguf::parse(&file).unwrap().metadata;
    Tokenizer::new(Vocabulary::from_metadata(&metadata).unwrap()).unwrap()
}

fn masks(c: &mut Criterion) {
    let tokenizer = mistral();
    let table = TokenTable::new(&tokenizer).unwrap();
    // Encoded after an end of line, so that no space is put in front, which no grammar here lets
    // begin a text.
    let tokens: Vec<u32> = tokenizer.encode(format!("\n{TEXT}").as_bytes());
    let line_end = tokenizer.token("<0x0A>").expect("all bytes are tokens");
    let first = tokens
        .iter()
        .position(|&id| id == line_end)
        .expect("it was encoded")
        + 1;
    let tokens = &tokens[first..];
    let grammars = [
        ("json-mode", Grammar::JsonObject),
        ("schema", Grammar::JsonSchema(SCHEMA.into())),
        ("regex", Grammar::Regex("[^\\n]{1,400}".into())),
        ("gbnf", Grammar::Gbnf(GBNF.into())),
    ];
    for (name, grammar) in grammars {
        let mut constraint = Constraint::new(&table, &grammar).unwrap();
        c.bench_function(&format!("mask/{name}/{}tokens", tokens.len()), |b| {
            b.iter(|| {
                constraint.begin(0).unwrap();
                for n in 0..tokens.len() {
                    constraint.look(&tokens[..n]).unwrap();
                }
            });
        });
    }
    c.bench_function("mask/table", |b| b.iter(|| TokenTable::new(&tokenizer).unwrap()));
}

criterion_group!(benches, masks);
criterion_main!(benches);
