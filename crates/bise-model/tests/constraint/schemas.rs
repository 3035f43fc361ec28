//! Schemas over the keywords that the parser knows.

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};

fn object(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(
        entries
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect::<Map<_, _>>(),
    )
}

/// `keyword`, or nothing.
fn maybe(
    keyword: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Vec<(&'static str, Value)>> {
    prop_oneof![Just(vec![]), value.prop_map(move |v| vec![(keyword, v)])].boxed()
}

fn joined(
    start: Vec<(&'static str, Value)>,
    parts: Vec<BoxedStrategy<Vec<(&'static str, Value)>>>,
) -> BoxedStrategy<Value> {
    parts
        .prop_map(move |parts| object(start.clone().into_iter().chain(parts.into_iter().flatten())))
        .boxed()
}

fn numbers() -> BoxedStrategy<Value> {
    let integer = joined(
        vec![("type", json!("integer"))],
        vec![
            prop_oneof![
                maybe("minimum", (-200..50i32).prop_map(Value::from)),
                maybe("exclusiveMinimum", (-200..50i32).prop_map(Value::from))
            ]
            .boxed(),
            prop_oneof![
                maybe("maximum", (60..3000i32).prop_map(Value::from)),
                maybe("exclusiveMaximum", (60..3000i32).prop_map(Value::from))
            ]
            .boxed(),
            maybe("multipleOf", (1..12i32).prop_map(Value::from)),
        ],
    );
    let quarter = |n: i32| Value::from(f64::from(n) / 4.0);
    let number = joined(
        vec![("type", json!("number"))],
        vec![
            prop_oneof![
                maybe("minimum", (-400..40i32).prop_map(quarter)),
                maybe("exclusiveMinimum", (-400..40i32).prop_map(quarter))
            ]
            .boxed(),
            prop_oneof![
                maybe("maximum", (41..900i32).prop_map(quarter)),
                maybe("exclusiveMaximum", (41..900i32).prop_map(quarter))
            ]
            .boxed(),
            maybe(
                "multipleOf",
                prop::sample::select(vec![json!(0.5), json!(0.25), json!(2), json!(5)]),
            ),
        ],
    );
    prop_oneof![integer, number].boxed()
}

/// Formats for which the parser's expression is the whole truth. It knows nothing of the years that
/// have a 29th of February, nor of the minutes that have a leap second, so that dates and times are
/// right in form only.
const FORMATS: [&str; 7] = ["duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];

fn strings() -> BoxedStrategy<Value> {
    let lengths = joined(
        vec![("type", json!("string"))],
        vec![
            maybe("minLength", (0..5u32).prop_map(Value::from)),
            maybe("maxLength", (5..12u32).prop_map(Value::from)),
        ],
    );
    let pattern = prop::sample::select(vec![
        "^[a-c]{2,4}$",
        "^(yes|no)$",
        "x+y",
        "^\\d{3}-\\w+",
        "[\u{e0}-\u{ff}]$",
        "^$",
        "a.c",
    ]);
    let formats = prop::sample::select(FORMATS.to_vec());
    prop_oneof![
        3 => lengths,
        2 => pattern.prop_map(|p| json!({"type": "string", "pattern": p})),
        2 => formats.prop_map(|f| json!({"type": "string", "format": f})),
        1 => (3..9u32).prop_map(|most| json!({"type": "string", "pattern": "^[a-z]", "minLength": 2, "maxLength": most})),
        1 => Just(json!({"type": "string", "format": "ipv4", "pattern": "^1"})),
    ]
    .boxed()
}

fn leaves() -> BoxedStrategy<Value> {
    let values = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-12.5),
        json!("a\"b\n\u{e9}"),
        json!([1, []]),
        json!({"k": "v"}),
        json!(""),
    ]);
    prop_oneof![
        2 => prop::sample::select(vec![json!({"type": "null"}), json!({"type": "boolean"}), json!({"type": ["string", "null"]})]),
        4 => numbers(),
        4 => strings(),
        1 => values.clone().prop_map(|v| json!({"const": v})),
        1 => prop::collection::vec(values, 1..4).prop_map(|v| json!({"enum": v})),
        1 => Just(json!({"$ref": "#/$defs/word"})),
        1 => Just(json!({"$ref": "#/$defs/list"})),
        1 => prop::sample::select(vec![json!(true), json!({})]),
    ]
    .boxed()
}

fn arrays(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let items = prop_oneof![3 => item.clone(), 1 => Just(json!(false))];
    joined(
        vec![("type", json!("array"))],
        vec![
            maybe("items", items),
            maybe(
                "prefixItems",
                prop::collection::vec(item, 1..3).prop_map(Value::from),
            ),
            maybe("minItems", (0..3u32).prop_map(Value::from)),
            maybe("maxItems", (3..5u32).prop_map(Value::from)),
        ],
    )
}

/// Lists as drafts before 2020-12 write them.
fn old_arrays(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let further = prop_oneof![any::<bool>().prop_map(Value::Bool), item.clone()];
    let items = prop::collection::vec(item, 1..3).prop_map(Value::from);
    (items, further, 0..3u32)
        .prop_map(|(items, further, least)| {
            json!({"type": "array", "items": items, "additionalItems": further, "minItems": least, "maxItems": 4})
        })
        .boxed()
}

const NAMES: [&str; 4] = ["name", "a b", "x\"y", "\u{e9}t\u{e9}"];

fn objects(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let properties = prop::collection::vec(item.clone(), 0..=NAMES.len()).prop_map(|items| {
        NAMES
            .iter()
            .zip(items)
            .map(|(name, item)| ((*name).to_owned(), item))
            .collect::<Map<_, _>>()
    });
    let required = prop::sample::subsequence(NAMES.to_vec(), 0..3).prop_map(|names| json!(names));
    joined(
        vec![("type", json!("object"))],
        vec![
            maybe("properties", properties.prop_map(Value::Object)),
            maybe("required", required),
            maybe(
                "additionalProperties",
                prop_oneof![any::<bool>().prop_map(Value::Bool), item.clone()],
            ),
            maybe(
                "patternProperties",
                item.prop_map(|item| json!({"^p_[a-z]+$": item})),
            ),
        ],
    )
}

/// How many properties there are is counted where all that have a name must be there. Names that
/// have none may repeat, and a parser of texts counts each, so that no more than one of them is
/// asked for.
fn counted_objects(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let names = prop::sample::subsequence(NAMES.to_vec(), 0..=2);
    (names, item.clone(), item, 0..2usize, 0..4usize)
        .prop_map(|(names, item, more, least, most)| {
            let properties: Map<_, _> = names
                .iter()
                .map(|name| ((*name).to_owned(), item.clone()))
                .collect();
            let least = names.len() + least;
            json!({
                "type": "object", "properties": properties, "required": names, "additionalProperties": more,
                "minProperties": least, "maxProperties": least + most
            })
        })
        .boxed()
}

/// A schema of nested parts, with definitions.
pub fn schemas() -> impl Strategy<Value = Value> {
    let nested = leaves().prop_recursive(3, 12, 3, |inner| {
        let inner = inner.boxed();
        Union::new_weighted(vec![
            (3, arrays(inner.clone())),
            (4, objects(inner.clone())),
            (1, counted_objects(inner.clone())),
            (
                1,
                prop::collection::vec(inner.clone(), 1..3)
                    .prop_map(|s| json!({"anyOf": s}))
                    .boxed(),
            ),
            (
                1,
                inner
                    .clone()
                    .prop_map(|s| json!({"allOf": [s, {"title": "no more"}]}))
                    .boxed(),
            ),
            (
                1,
                (numbers(), 0..20i32)
                    .prop_map(|(s, least)| json!({"allOf": [s, {"minimum": least}]}))
                    .boxed(),
            ),
            (
                1,
                strings()
                    .prop_map(|s| json!({"oneOf": [s, {"type": "array", "maxItems": 1}]}))
                    .boxed(),
            ),
        ])
    });
    nested.prop_map(with_definitions)
}

/// A list as drafts before 2020-12 describe it.
pub fn old_schemas() -> impl Strategy<Value = Value> {
    old_arrays(prop_oneof![3 => leaves(), 1 => old_arrays(leaves())].boxed()).prop_map(|schema| {
        let Value::Object(mut schema) = with_definitions(schema) else {
            unreachable!("an object")
        };
        schema.insert(
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
        Value::Object(schema)
    })
}

fn with_definitions(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Object(map) => map,
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    let definitions = json!({
        "word": {"type": "string", "maxLength": 4},
        "list": {"anyOf": [{"type": "null"}, {
            "type": "object", "properties": {"next": {"$ref": "#/$defs/list"}}, "required": ["next"], "additionalProperties": false
        }]},
    });
    schema.insert("$defs".to_owned(), definitions);
    Value::Object(schema)
}
