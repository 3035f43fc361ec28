//! Texts as vectors, and the models that there are.

use crate::common::Setup;
use crate::keys;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const PATH: &str = "/v1/embeddings";

fn vector(answer: &Value, i: usize) -> Vec<f64> {
    let numbers = answer["data"][i]["embedding"].as_array().unwrap();
    numbers.iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn vectors_come_in_both_forms() {
    let server = Setup::default().run();
    let texts = ["Once upon a time", "The fox"];
    let answer = server.answered(PATH, &json!({"input": texts, "model": "tiny"}));
    assert_eq!(keys(&answer), ["id", "object", "data", "model", "usage"]);
    let ids = texts.map(|text| server.served.tokenizer.encode_complete(text.as_bytes()));
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        ids.iter().map(Vec::len).sum::<usize>()
    );
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(answer["data"][i]["index"], i);
        let expected = vector(&answer, i);
        assert_eq!(expected.len(), 256);
        let length: f64 = expected.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        for input in [json!(text), json!([text]), json!(ids[i]), json!([ids[i]])] {
            let body = json!({"input": input, "encoding_format": "float", "dimensions": 256});
            assert_eq!(vector(&server.answered(PATH, &body), 0), expected, "{input}");
        }
        let body = json!({"input": text, "encoding_format": "base64"});
        let answer = server.answered(PATH, &body);
        let bytes = STANDARD
            .decode(answer["data"][0]["embedding"].as_str().unwrap())
            .unwrap();
        let numbers = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let same = numbers
            .zip(&expected)
            .all(|(x, y)| (f64::from(x) - y).abs() < 1e-6);
        assert!(same && bytes.len() == 4 * 256);
    }
}

#[test]
fn models_are_listed_by_their_names() {
    let server = Setup::default().run();
    let (status, list) = server.get("/v1/models");
    assert_eq!((status, &list["object"]), (200, &json!("list")));
    let model = &list["data"][0];
    assert_eq!(
        keys(model),
        [
            "id",
            "object",
            "created",
            "owned_by",
            "type",
            "capabilities",
            "max_context_length"
        ]
    );
    assert_eq!((&model["id"], &model["type"]), (&json!("tiny"), &json!("base")));
    assert_eq!(server.get("/v1/models/tiny"), (200, model.clone()));
    let (status, answer) = server.get("/v1/models/some%2Fother");
    assert_eq!(status, 404);
    assert_eq!(answer["error"]["code"], "model_not_found");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("some/other")
    );
}
