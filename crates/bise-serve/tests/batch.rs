//! Rows in a batch: each is answered as if it were alone, in the order of rows or as answers come.

mod common;

use bise_model::sampler::{Sampler, SamplerOptions};
use bise_model::tokenizer::Detokenizer;
use bise_model::{Context, ContextOptions, Limits, Session, Stop};
use bise_serve::Served;
use bise_serve::batch::{Answer, Batch, Common, Reason, Row, Text};
use bise_serve::sampling::Sampling;
use bise_serve::scheduler::SchedulerOptions;
use common::{Setup, thinking};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

fn served(model: &str, sequences: usize, queue: usize) -> Arc<Served> {
    let setup = Setup {
        model: model.into(),
        scheduler: SchedulerOptions {
            sequences,
            queue,
            context: 256,
        },
        ..Setup::default()
    };
    Arc::new(setup.served())
}

fn row(index: u64, row: &Value) -> Row {
    Row::from_json(index, row.to_string().as_bytes())
}

/// All answers to `rows`.
fn answers(mut batch: Batch, rows: &[Value]) -> Vec<Answer> {
    let mut left = rows.iter().enumerate();
    let mut answers = Vec::new();
    loop {
        while batch.has_room()
            && let Some((i, asked)) = left.next()
        {
            batch.push(row(i as u64, asked));
        }
        match batch.next_within(MINUTE) {
            Some(answer) => answers.push(answer),
            None => break,
        }
    }
    assert!(batch.is_empty() && left.next().is_none());
    answers
}

fn text(answer: &Answer) -> &Text {
    answer.result.as_ref().unwrap()
}

/// The text of a prompt, made by nobody but the model and a sampler.
fn alone(served: &Served, prompt: &str, options: SamplerOptions, most: usize) -> String {
    let tokens = served.text_prompt(prompt);
    let context = Context::new(&served.model, ContextOptions::new(256)).unwrap();
    let mut session = Session::new(context);
    let mut sampler = Sampler::new(options).unwrap();
    let mut pieces = Detokenizer::continuing(&served.tokenizer);
    let mut text = String::new();
    let limits = Limits {
        max_tokens: most,
        end: served.tokenizer.ends(),
    };
    let stop = session.generate(&tokens, limits, &mut sampler, |token| {
        text.push_str(pieces.push(token));
        ControlFlow::Continue(())
    });
    assert!(matches!(stop.unwrap(), Stop::EndOfText | Stop::Length));
    text.push_str(pieces.finish());
    text
}

#[test]
fn each_row_is_answered_as_if_alone() {
    for model in ["tiny-mistral", "tiny-mixtral"] {
        let served = served(model, 6, 256);
        let begins = ["Once upon a time", "The dog", "Tom and Lily went", "A bird"];
        let rows: Vec<Value> = (0..40)
            .map(|i| {
                let temperature = if i % 3 == 0 { 0.0 } else { 0.9 };
                let prompt = begins[i % 4].repeat(1 + i % 3);
                json!({"prompt": prompt, "seed": i, "temp": temperature, "max_tokens": 5 + i % 50})
            })
            .collect();
        let batch = Batch::new(served.clone(), Common::default()).unwrap();
        let made = answers(batch, &rows);
        assert_eq!(made.len(), rows.len());
        for (i, (answer, row)) in made.iter().zip(&rows).enumerate() {
            let options = SamplerOptions {
                temperature: row["temp"].as_f64().unwrap() as f32,
                seed: Some(i as u64),
                ..SamplerOptions::default()
            };
            let most = row["max_tokens"].as_u64().unwrap() as usize;
            let expected = alone(&served, row["prompt"].as_str().unwrap(), options, most);
            let text = text(answer);
            assert_eq!(text.text, expected, "{model}, row {i}");
            assert_eq!((answer.index, text.seed), (i as u64, i as u64));
            assert!(text.tokens <= most && (text.reason == Reason::End || text.tokens == most));
        }
    }
}

#[test]
fn answers_come_in_order_or_as_they_are_ready() {
    let served = served("demo.gguf", 4, 256);
    let long = json!({"prompt": "Once", "max_tokens": 200, "temp": 0});
    let short = json!({"prompt": "The", "max_tokens": 2, "temp": 0});
    let rows: Vec<Value> = std::iter::once(long).chain(vec![short; 7]).collect();
    let common = Common {
        ignore_end: true,
        ..Common::default()
    };
    let ordered = Batch::new(served.clone(), common.clone()).unwrap();
    let order: Vec<u64> = answers(ordered, &rows).iter().map(|a| a.index).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    let any = Batch::new(served, common).unwrap().unordered();
    let order: Vec<u64> = answers(any, &rows).iter().map(|a| a.index).collect();
    assert_eq!(order.last(), Some(&0), "{order:?}");
}

#[test]
fn more_rows_than_may_wait_are_answered() {
    let served = served("demo.gguf", 3, 1);
    let rows: Vec<Value> = (0..30)
        .map(|i| json!({"prompt": "Once", "seed": i, "max_tokens": 3}))
        .collect();
    let made = answers(Batch::new(served, Common::default()).unwrap(), &rows);
    assert_eq!(made.len(), 30);
    made.iter().for_each(|answer| assert!(text(answer).tokens <= 3));
}

#[test]
fn what_is_wrong_with_a_row_is_its_answer() {
    let served = served("demo.gguf", 4, 256);
    let wrong = [
        (json!([1]), "expected an object"),
        (json!({"id": "x"}), "expected prompt"),
        (json!({"prompt": 1}), "prompt: expected a text"),
        (json!({"prompt": "a", "messages": []}), "not both"),
        (json!({"messages": []}), "no messages"),
        (json!({"messages": [{"role": "nobody"}]}), "messages: "),
        (json!({"prompt": "a", "max_tokens": -2}), "max_tokens: expected"),
        (json!({"prompt": "a", "stop": [1]}), "stop: expected"),
        (json!({"prompt": "a", "logprobs": true}), "logprobs: expected"),
        (json!({"prompt": "a", "top_p": 2}), "top_p is 2"),
        (json!({"prompt": "a", "nonsense": 2}), "no option nonsense"),
        (
            json!({"prompt": "a", "mirostat_lr": 0.2}),
            "not among the samplers",
        ),
        (
            json!({"prompt": "a", "logit_bias": "99999999=1"}),
            "no token 99999999",
        ),
        (json!({"prompt": "word ".repeat(900)}), "too long"),
    ];
    let good = json!({"prompt": "Once", "max_tokens": 2, "id": {"a": 1}, "top_k": null});
    let mut rows: Vec<Value> = wrong.iter().map(|(row, _)| row.clone()).collect();
    rows.push(good);
    let made = answers(Batch::new(served, Common::default()).unwrap(), &rows);
    for (answer, (row, words)) in made.iter().zip(&wrong) {
        let problem = answer.result.as_ref().unwrap_err().to_string();
        assert!(problem.contains(words), "{row}: {problem}");
        assert_eq!(answer.to_json()["error"], problem);
    }
    let last = made.last().unwrap();
    assert_eq!((last.id.as_ref(), text(last).tokens), (Some(&json!({"a": 1})), 2));
    let no_json = Row::from_json(0, b"{\"prompt\": ");
    let mut batch = Batch::new(self::served("demo.gguf", 1, 1), Common::default()).unwrap();
    batch.push(no_json);
    let answer = batch.next_within(MINUTE).unwrap();
    assert!(answer.result.unwrap_err().to_string().contains("not JSON"));
}

#[test]
fn a_batch_that_is_dropped_is_given_up() {
    let served = served("demo.gguf", 4, 256);
    let common = Common {
        ignore_end: true,
        ..Common::default()
    };
    let mut batch = Batch::new(served.clone(), common).unwrap();
    for i in 0..8 {
        batch.push(row(i, &json!({"prompt": "Once", "max_tokens": 230})));
    }
    assert!(batch.next_within(Duration::ZERO).is_none());
    assert!(!batch.has_room() && !batch.is_empty());
    drop(batch);
    let begun = Instant::now();
    while served.scheduler.load().running + served.scheduler.load().waiting > 0 {
        assert!(begun.elapsed() < MINUTE, "{:?}", served.scheduler.load());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn probabilities_thoughts_and_stops_are_told() {
    let setup = thinking(3);
    let sampling = setup.sampling.clone();
    let served = Arc::new(setup.served());
    let biases = sampling.logit_bias.iter().map(|(id, x)| format!("{id}={x}"));
    let common = Common {
        sampling: Sampling {
            logit_bias: biases.collect(),
            ..Sampling::default()
        },
        logprobs: Some(2),
        chat: true,
        ..Common::default()
    };
    let stops = |i: usize| if i.is_multiple_of(2) { vec![] } else { vec!["e"] };
    let rows: Vec<Value> = (0..24)
        .map(|i| json!({"prompt": "Hello", "seed": i, "max_tokens": 100, "temp": 1, "stop": stops(i)}))
        .collect();
    let made = answers(Batch::new(served, common).unwrap(), &rows);
    assert!(made.iter().any(|answer| !text(answer).thought.is_empty()));
    for (i, answer) in made.iter().enumerate() {
        let text = text(answer);
        assert!(stops(i).is_empty() || !text.text.contains('e'));
        assert_eq!(text.stop_text.is_some(), text.reason == Reason::Stop);
        let tokens = text.logprobs.as_ref().unwrap();
        assert_eq!(tokens.len(), text.tokens);
        assert!(tokens.iter().all(|token| token.top.len() == 2));
        let json = answer.to_json();
        assert_eq!(json.contains_key("reasoning"), !text.thought.is_empty());
        assert_eq!(json["logprobs"][0]["token"], tokens[0].id);
    }
}
