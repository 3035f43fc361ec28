//! From a text to an importance matrix, to a file that is weighed by it, to how far that is from
//! its source.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bise"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Standard output and standard error of a run that succeeds.
fn succeeds(arguments: &[&str]) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(stdout), text(stderr));
    assert!(status.success(), "{arguments:?}: {err}");
    (out, err)
}

struct Folder(tempfile::TempDir);

impl Folder {
    /// With a short text to calibrate on.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let text = std::fs::read_to_string(fixtures.join("heldout.txt")).unwrap();
        std::fs::write(folder.path("text"), &text[..2000]).unwrap();
        for name in ["tiny-mistral", "tiny-mixtral"] {
            let directory = fixtures.join(name);
            succeeds(&[
                "quantize",
                directory.to_str().unwrap(),
                &folder.name(name),
                "--type",
                "F16",
            ]);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn an_importance_matrix_makes_a_nearer_file() {
    let folder = Folder::new();
    let [text, imatrix, again, out] =
        ["text", "imatrix", "again", "out"].map(|name| folder.name(name));
    for name in ["tiny-mistral", "tiny-mixtral"] {
        let model = folder.name(name);
        let (_, said) =
            succeeds(&["imatrix", &model, "-f", &text, "-o", &imatrix, "--chunk", "100"]);
        assert!(said.contains("chunks of a text of"), "{said}");
        // The same bytes for other threads and batches.
        let options = ["--chunk", "100", "-t", "2", "--batch", "7"];
        succeeds(&[&["imatrix", &model, "-f", &text, "-o", &again][..], &options].concat());
        assert!(std::fs::read(&imatrix).unwrap() == std::fs::read(&again).unwrap());

        let divergence = |more: &[&str]| {
            let arguments = [
                "quantize",
                &model,
                &out,
                "--type",
                "Q2_K",
                "--json",
                "--calibrate",
                &text,
            ];
            let (json, _) = succeeds(&[&arguments, more].concat());
            let json: Value = serde_json::from_str(&json).unwrap();
            let kl = json["divergence"]["mean_kl"].as_f64().unwrap();
            assert!(json["divergence"]["kl_99"].as_f64().unwrap() >= kl && kl > 0.0);
            assert!((0.5..1.0).contains(&json["divergence"]["same_top_token"].as_f64().unwrap()));
            assert!(
                json["tensors"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|tensor| tensor["rmse"].is_f64())
            );
            kl
        };
        let (weighted, plain) = (divergence(&["--imatrix", &imatrix]), divergence(&[]));
        assert!(
            weighted < 1.05 * plain,
            "{name}: {weighted} with the importance matrix, {plain} without"
        );
    }
}

#[test]
fn a_copy_does_not_diverge() {
    let folder = Folder::new();
    let [text, model, out] = ["text", "tiny-mistral", "out"].map(|name| folder.name(name));
    let (_, said) = succeeds(&[
        "quantize",
        &model,
        &out,
        "--type",
        "F16",
        "--calibrate",
        &text,
        "--report",
    ]);
    assert!(
        said.contains("KL divergence 0.000000 (99th percentile 0.000000), same top token 100.00 %"),
        "{said}"
    );
    assert!(said.contains("blk.0.attn_q.weight       F16   F16"), "{said}");
}

#[test]
fn what_is_asked_wrongly_leaves_nothing() {
    let folder = Folder::new();
    let [text, model, out] = ["text", "tiny-mistral", "out"].map(|name| folder.name(name));
    for (arguments, says) in [
        (&["--type", "Q4_K_M", "--size", "1M"][..], "cannot be used with"),
        (&["--size", "1M", "--pure"], "cannot be used with"),
        (&[], "required"),
        (&["--size", "1X"], "is no size"),
        (&["--size", "10k"], "is out of reach"),
        (
            &["--type", "Q4_0", "--imatrix", &text],
            "neither GGUF nor the older format",
        ),
        (&["--type", "Q4_0", "--tensor-type", "attn_w=q4_k"], "attn_q"),
        (
            &["--type", "Q4_0", "--calibrate", "/no/such/text"],
            "/no/such/text",
        ),
    ] {
        let output = run(&[&["quantize", &model, &out][..], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(says),
            "{arguments:?}: {said}"
        );
        assert!(!folder.path("out").exists(), "{arguments:?}");
    }
}
