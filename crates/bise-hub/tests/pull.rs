//! Whatever goes wrong, a file is right or absent, and the next call goes on.

mod common;

use bise_hub::{Cache, Hub, HubError, Name, Watch};
use common::{COMMIT, Faults, Stub, sha256};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Looks on, and stops after so many bytes.
#[derive(Default)]
struct Until {
    stop_after: Option<i64>,
    come: AtomicI64,
    notes: AtomicUsize,
}

impl Watch for Until {
    fn advance(&self, bytes: i64) {
        self.come.fetch_add(bytes, Ordering::Relaxed);
    }

    fn note(&self, _: &str) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop_after
            .is_some_and(|most| self.come.load(Ordering::Relaxed) >= most)
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn hub(stub: &Stub, folder: &Path, token: Option<&str>) -> Hub {
    Hub::new(&stub.endpoint, token, Cache::new(folder.to_owned()), false)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Files that have a name they should not have.
fn wrong(folder: &Path, digits: &[String]) -> Vec<String> {
    let blobs = folder.join("models--org--model/blobs");
    let entries = fs::read_dir(blobs).into_iter().flatten().flatten();
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().contains('.'));
    let bad = whole.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        !digits.contains(&name) || sha256(&fs::read(entry.path()).unwrap()) != name
    });
    bad.map(|entry| entry.path().display().to_string()).collect()
}

#[test]
fn a_model_comes_whole_once_and_is_found_then() {
    let model = bytes(20 << 20);
    let stub = Stub::start(&[
        ("m-Q4_K_M.gguf", &model),
        ("m-Q8_0.gguf", b"other"),
        ("README.md", b"text"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&stub, folder.path(), Some("secret"));
    let watch = Until::default();
    let pulled = hub.pull(&name("org/model"), &watch).unwrap();
    assert_eq!(fs::read(&pulled.path).unwrap(), model);
    assert_eq!(
        (pulled.fetched, watch.come.load(Ordering::Relaxed)),
        (20 << 20, 20 << 20)
    );
    assert!(stub.ranges().len() >= 3, "several pieces");
    let at = folder.path().join("models--org--model");
    assert_eq!(fs::read_to_string(at.join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(at.join("snapshots").join(COMMIT).join("m-Q4_K_M.gguf")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&model)));
    assert_eq!(hub.cache().find(&name("org/model")), Some(pulled.path.clone()));
    assert_eq!(hub.cache().find(&name("org/model:Q8_0")), None);

    stub.set(Faults::default());
    let again = hub.pull(&name("org/model:Q4_K_M"), &Until::default()).unwrap();
    assert_eq!((again.path, again.fetched), (pulled.path.clone(), 0));
    assert_eq!(stub.ranges(), Vec::<String>::new());
    hub.pull(&name("org/model:Q8_0"), &Until::default()).unwrap();
    let listed: Vec<_> = hub
        .cache()
        .list()
        .unwrap()
        .into_iter()
        .map(|one| (one.name, one.bytes))
        .collect();
    let expected = [
        ("org/model:m-Q4_K_M.gguf".to_owned(), 20 << 20),
        ("org/model:m-Q8_0.gguf".to_owned(), 5),
    ];
    assert_eq!(listed, expected);
    assert_eq!(
        hub.cache().remove(&name("org/model:Q4_K_M")).unwrap(),
        Some(20 << 20)
    );
    assert!(!pulled.path.exists());
    assert_eq!(hub.cache().list().unwrap().len(), 1);
    assert_eq!(hub.cache().remove(&name("org/model")).unwrap(), Some(5));
    assert_eq!(hub.cache().remove(&name("org/model")).unwrap(), None);
}

#[test]
fn a_directory_comes_with_what_belongs_to_it() {
    let files: [(&str, &[u8]); 5] = [
        ("config.json", b"{}"),
        ("model.safetensors", b"weights"),
        ("tokenizer.json", b"{ }"),
        ("pytorch_model.bin", b"pickle"),
        ("additional_chat_templates/tool_use.jinja", b"template"),
    ];
    let stub = Stub::start(&files);
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&stub, folder.path(), None);
    let pulled = hub.pull(&name("org/model"), &Until::default()).unwrap();
    for (file, content) in files.iter().filter(|(file, _)| !file.ends_with(".bin")) {
        assert_eq!(fs::read(pulled.path.join(file)).unwrap(), *content, "{file}");
    }
    assert!(!pulled.path.join("pytorch_model.bin").exists());
    assert_eq!(hub.cache().find(&name("org/model")), Some(pulled.path));
}

#[test]
fn what_goes_wrong_is_said_and_leaves_no_wrong_file() {
    let model = bytes(9 << 20);
    let stub = Stub::start(&[("m.gguf", &model)]);
    let digits = [sha256(&model)];
    let cases: [(Faults, &[&str]); 8] = [
        (
            Faults {
                flip: Some(5 << 20),
                ..Faults::default()
            },
            &["damaged on the way", "SHA-256", &digits[0]],
        ),
        (
            Faults {
                short: 1000,
                ..Faults::default()
            },
            &["breaks again and again"],
        ),
        (
            Faults {
                drop: Some(0),
                ..Faults::default()
            },
            &["breaks again and again"],
        ),
        (
            Faults {
                status: Some((404, 99)),
                ..Faults::default()
            },
            &["404"],
        ),
        (
            Faults {
                status: Some((403, 99)),
                ..Faults::default()
            },
            &["403", "HF_TOKEN"],
        ),
        (
            Faults {
                status: Some((500, 99)),
                ..Faults::default()
            },
            &["HTTP 500"],
        ),
        (
            Faults {
                all: Some(401),
                ..Faults::default()
            },
            &["401", "HF_TOKEN"],
        ),
        (
            Faults {
                token: Some("right"),
                ..Faults::default()
            },
            &["401"],
        ),
    ];
    for (faults, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        stub.set(faults.clone());
        let hub = hub(&stub, folder.path(), Some("a-secret-token"));
        let error = hub
            .pull(&name("org/model"), &Until::default())
            .expect_err("a fault")
            .to_string();
        for word in words {
            assert!(error.contains(word), "{faults:?}: {error}");
        }
        assert!(!error.contains("a-secret-token"));
        assert_eq!(wrong(folder.path(), &digits), Vec::<String>::new(), "{faults:?}");
        assert_eq!(hub.cache().find(&name("org/model")), None, "{faults:?}");
        stub.set(Faults::default());
        let pulled = hub.pull(&name("org/model"), &Until::default()).unwrap();
        assert_eq!(fs::read(pulled.path).unwrap(), model, "after {faults:?}");
    }
}

#[test]
fn what_passes_by_is_waited_for() {
    let model = bytes(3 << 20);
    let stub = Stub::start(&[("m.gguf", &model)]);
    for faults in [
        Faults {
            status: Some((503, 2)),
            ..Faults::default()
        },
        Faults {
            status: Some((429, 1)),
            ..Faults::default()
        },
        Faults {
            no_range: true,
            ..Faults::default()
        },
        Faults {
            token: Some("right"),
            ..Faults::default()
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        stub.set(faults.clone());
        let hub = hub(&stub, folder.path(), Some("right"));
        let pulled = hub.pull(&name("org/model"), &Until::default()).unwrap();
        assert_eq!(fs::read(pulled.path).unwrap(), model, "{faults:?}");
    }
}

#[test]
fn a_server_without_ranges_gives_large_files_whole() {
    let model = bytes(20 << 20);
    let stub = Stub::start(&[("m.gguf", &model)]);
    stub.set(Faults {
        no_range: true,
        ..Faults::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let pulled = hub(&stub, folder.path(), None)
        .pull(&name("org/model"), &Until::default())
        .unwrap();
    assert_eq!(fs::read(pulled.path).unwrap(), model);
}

#[test]
fn a_call_that_is_stopped_goes_on_from_there() {
    let model = bytes(40 << 20);
    let stub = Stub::start(&[("m.gguf", &model)]);
    stub.set(Faults {
        slow: true,
        ..Faults::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&stub, folder.path(), None);
    let stop = Until {
        stop_after: Some(25 << 20),
        ..Until::default()
    };
    let error = hub.pull(&name("org/model"), &stop).expect_err("stopped");
    assert!(matches!(error, HubError::Stopped), "{error}");
    stub.set(Faults::default());
    let pulled = hub.pull(&name("org/model"), &Until::default()).unwrap();
    assert_eq!(fs::read(pulled.path).unwrap(), model);
    assert!(stub.asked_for() <= 21 << 20, "{:?}", stub.ranges());
}

#[test]
fn two_calls_at_once_get_one_file_once() {
    let model = bytes(12 << 20);
    let stub = Stub::start(&[("m.gguf", &model)]);
    stub.set(Faults {
        slow: true,
        ..Faults::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Until::default(), Until::default());
    std::thread::scope(|scope| {
        for watch in [&one, &other] {
            let (stub, folder, model) = (&stub, folder.path(), &model);
            scope.spawn(move || {
                let pulled = hub(stub, folder, None).pull(&name("org/model"), watch).unwrap();
                assert_eq!(&fs::read(pulled.path).unwrap(), model);
            });
        }
    });
    assert_eq!(stub.asked_for(), 12 << 20, "{:?}", stub.ranges());
}

#[test]
fn offline_there_is_what_there_is() {
    let model = bytes(1000);
    let stub = Stub::start(&[("m.gguf", &model)]);
    let folder = tempfile::tempdir().unwrap();
    let offline = Hub::new(&stub.endpoint, None, Cache::new(folder.path().to_owned()), true);
    let error = offline
        .pull(&name("org/model"), &Until::default())
        .expect_err("nothing")
        .to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
    hub(&stub, folder.path(), None)
        .pull(&name("org/model"), &Until::default())
        .unwrap();
    stub.set(Faults::default());
    let pulled = offline.pull(&name("org/model"), &Until::default()).unwrap();
    assert_eq!(fs::read(pulled.path).unwrap(), model);
    assert!(stub.log.lock().unwrap().is_empty(), "no request at all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A connection that breaks after every so many bytes brings the file all the same.
    #[test]
    fn breaks_after_every_so_many_bytes(size in 1usize..200_000, drop in 5_000usize..60_000) {
        let model = bytes(size);
        let stub = Stub::start(&[("m.gguf", &model)]);
        stub.set(Faults { drop: Some(drop), ..Faults::default() });
        let folder = tempfile::tempdir().unwrap();
        let pulled = hub(&stub, folder.path(), None).pull(&name("org/model"), &Until::default()).unwrap();
        prop_assert_eq!(fs::read(pulled.path).unwrap(), model);
    }
}
