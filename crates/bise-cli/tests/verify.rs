//! `bise verify` finds faults that were put into good files, names them, and leaves good files
//! alone.
//!
//! A part of this runs as a test; all of it with
//! `BISE_FAULTS=500 cargo test --release -p bise-cli --test verify -- --nocapture`.

use bise_format::gguf::{Gguf, GgufWriter, Metadata, TensorSpec, Value};
use bise_kernels::threads::Threads;
use bise_quantize::{
    FaultKind, Options, Prober, Silent, Target, Verdict, quantize_and_probe, repack, verify,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;

fn prober() -> Prober<'static> {
    static THREADS: LazyLock<Threads> = LazyLock::new(|| Threads::new(2).unwrap());
    Prober::silent(&THREADS)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

/// Quantizes `src`; gives the notes.
fn make(src: &Path, dst: &Path, target: &str) -> String {
    let options = Options::new(Target::from_name(target).unwrap());
    let report = quantize_and_probe(src, dst, &options, &Silent, Some(&prober())).unwrap();
    report.notes.join("\n")
}

fn check(path: &Path) -> Verdict {
    verify(path, Some(&prober())).unwrap()
}

/// How many faults or files to try: all of `all` when asked for, else a few.
fn count(all: usize, few: usize) -> usize {
    match std::env::var("BISE_FAULTS") {
        Ok(n) => n.parse::<usize>().unwrap() * all / 500,
        Err(_) => few,
    }
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// The file with other metadata.
fn rewrite(file: &[u8], change: impl FnOnce(&mut Metadata)) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut metadata = gguf.metadata.clone();
    change(&mut metadata);
    let specs = gguf.tensors.values().map(|info| TensorSpec {
        name: info.name.clone(),
        dims: info.dims.clone(),
        dtype: info.dtype,
    });
    let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
    for info in gguf.tensors.values() {
        writer.write_tensor(&info.name, gguf.bytes(file, info)).unwrap();
    }
    writer.finish().unwrap()
}

/// Removes the keys that begin so.
fn strip(file: &[u8], prefix: &str) -> Vec<u8> {
    rewrite(file, |metadata| {
        let keys: Vec<String> = metadata.iter().map(|(key, _)| key.to_owned()).collect();
        keys.iter().filter(|key| key.starts_with(prefix)).for_each(|key| {
            metadata.remove(key);
        });
    })
}

const KINDS: [&str; 5] = [
    "bit flip",
    "truncation",
    "swapped experts",
    "RoPE base",
    "tokenizer",
];

/// Puts a fault into `file`; gives the kinds that name it.
fn inject(kind: usize, file: &mut Vec<u8>, dice: &mut Dice) -> &'static [FaultKind] {
    use FaultKind::{
        Bits, Header, Metadata, Probe, RopeBase, SwappedExperts, Tokenizer, Truncated,
    };
    let gguf = Gguf::parse(file).unwrap();
    match KINDS[kind] {
        "bit flip" => {
            let at = dice.below(file.len());
            file[at] ^= 1 << dice.below(8);
            if at as u64 >= gguf.data_offset {
                &[Bits]
            } else {
                // In a length it makes the file seem to end too soon.
                &[Header, Metadata, RopeBase, Tokenizer, Truncated, Bits, Probe]
            }
        }
        "truncation" => {
            file.truncate(dice.below(file.len()));
            &[Truncated, Header]
        }
        "swapped experts" => {
            let stacks: Vec<_> = gguf
                .tensors
                .values()
                .filter(|t| t.name.ends_with("_exps.weight"))
                .collect();
            let stack = stacks[dice.below(stacks.len())];
            let (n, len) = (stack.dims[2] as usize, (stack.len / stack.dims[2]) as usize);
            let first = dice.below(n);
            let second = (first + 1 + dice.below(n - 1)) % n;
            let start = (gguf.data_offset + stack.offset) as usize;
            for i in 0..len {
                file.swap(start + first * len + i, start + second * len + i);
            }
            &[SwappedExperts]
        }
        "RoPE base" => {
            let bases = [1e4f32, 5e5, 1e6, 999_999.94, 2e6, 1e5];
            let old = gguf.metadata.f32("llama.rope.freq_base").unwrap().unwrap();
            let base = bases
                .into_iter()
                .cycle()
                .skip(dice.below(6))
                .find(|base| *base != old)
                .unwrap();
            *file = rewrite(file, |metadata| {
                metadata.insert("llama.rope.freq_base", base);
            });
            &[RopeBase]
        }
        _ => {
            let mut tokens = gguf
                .metadata
                .strings("tokenizer.ggml.tokens")
                .unwrap()
                .unwrap()
                .to_vec();
            let mut scores = gguf
                .metadata
                .f32s("tokenizer.ggml.scores")
                .unwrap()
                .unwrap()
                .to_vec();
            let (a, b) = (dice.below(tokens.len() - 1), dice.below(tokens.len()));
            match dice.below(4) {
                0 => tokens.swap(a, if a == b { a + 1 } else { b }),
                1 => scores[a] += 0.5,
                2 => tokens[a].push('x'),
                _ => tokens[259..].reverse(),
            }
            *file = rewrite(file, |metadata| {
                metadata.insert("tokenizer.ggml.tokens", tokens);
                metadata.insert("tokenizer.ggml.scores", Value::from(scores));
            });
            &[Tokenizer]
        }
    }
}

/// Mixtrals with tokenizers, of random weights and trained ones.
fn models(folder: &Path) -> Vec<Vec<u8>> {
    let f32 = folder.join("f32.gguf");
    make(&fixture("tiny-mixtral"), &f32, "F32");
    let mut files = Vec::new();
    for (i, target) in ["Q8_0", "Q4_K_M", "F16", "Q4_0", "Q2_K"]
        .into_iter()
        .take(count(5, 2))
        .enumerate()
    {
        let path = folder.join(format!("model-{i}.gguf"));
        make(&f32, &path, target);
        files.push(std::fs::read(path).unwrap());
    }
    files
}

/// Tries faults on `files`; gives how many of each kind were found, and how many rightly named.
fn try_faults(
    files: &[Vec<u8>],
    each: usize,
    folder: &Path,
) -> BTreeMap<&'static str, (usize, usize)> {
    let mut dice = Dice(7);
    let path = folder.join("faulty.gguf");
    let mut results = BTreeMap::new();
    for (kind, name) in KINDS.into_iter().enumerate() {
        let (mut found, mut named) = (0, 0);
        for i in 0..each {
            let good = &files[i % files.len()];
            let mut file = good.clone();
            let names = inject(kind, &mut file, &mut dice);
            assert!(file != *good);
            std::fs::write(&path, file).unwrap();
            let verdict = check(&path);
            found += usize::from(!verdict.faults.is_empty());
            let right = verdict.faults.iter().any(|fault| names.contains(&fault.kind));
            named += usize::from(right);
            if verdict.faults.is_empty() {
                println!("missed: {name} {i}");
            } else if !right {
                println!("misnamed: {name} {i}: {:?}", verdict.faults);
            }
        }
        results.insert(name, (found, named));
    }
    results
}

#[test]
fn faults_are_found_and_named() {
    let folder = TempDir::new().unwrap();
    let files = models(folder.path());
    let each = count(100, 12);
    let results = try_faults(&files, each, folder.path());
    println!("with hashes, of {each} each: found, named: {results:?}");
    for (kind, (found, named)) in results {
        // One in a hundred is allowed; none is known.
        assert!(
            found * 100 >= each * 99 && named * 100 >= each * 99,
            "{kind}: {found} found, {named} named of {each}"
        );
    }
}

/// What shows without hashes: a bound from below, for what depends on luck.
#[test]
fn without_hashes_probes_find_some() {
    let folder = TempDir::new().unwrap();
    let files = models(folder.path());
    let each = count(100, 8);
    let only_probes: Vec<_> = files.iter().map(|file| strip(file, "bise.verify.")).collect();
    let nothing: Vec<_> = files.iter().map(|file| strip(file, "bise.")).collect();
    for file in only_probes.iter().chain(&nothing) {
        let path = folder.path().join("good.gguf");
        std::fs::write(&path, file).unwrap();
        assert!(check(&path).faults.is_empty());
    }
    let probes = try_faults(&only_probes, each, folder.path());
    println!("with probes alone, of {each} each: {probes:?}");
    println!(
        "with nothing, of {each} each: {:?}",
        try_faults(&nothing, each, folder.path())
    );
    assert_eq!(probes["RoPE base"].0, each);
    // Experts that no probe's token was sent to do not show: six of eight did when this was
    // written.
    assert!(probes["swapped experts"].0 * 2 >= each);
}

#[test]
fn good_files_are_good() {
    let folder = TempDir::new().unwrap();
    let mut sources: Vec<PathBuf> = std::fs::read_dir(fixture("random"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    sources.sort();
    sources.extend(["tiny-mistral", "tiny-mixtral"].map(fixture));
    let targets: Vec<Target> = Target::all().collect();
    let (mut good, wanted) = (0, count(50, 12));
    for i in 0..wanted {
        let (src, target) = (&sources[i * 5 % sources.len()], targets[i % targets.len()].name());
        let (f32, path) = (
            folder.path().join(format!("{i}.f32.gguf")),
            folder.path().join("out.gguf"),
        );
        // Every other one from a GGUF file, which is run before.
        if i % 2 == 0 {
            make(src, &f32, "F32");
        }
        make(if i % 2 == 0 { &f32 } else { src }, &path, target);
        let verdict = check(&path);
        assert!(
            verdict.faults.is_empty(),
            "{} {target}: {:?}",
            src.display(),
            verdict.faults
        );
        assert!(
            verdict.checked.iter().any(|what| what.contains("bit for bit")),
            "{:?}",
            verdict.checked
        );
        good += 1;
        let _ = std::fs::remove_file(f32);
    }
    println!("{good} good files, no alarm");
}

/// The built-in model's logits are those of the day it was made: when arithmetic changes, so must
/// `bise_model::CONTRACT`, and the model be made anew.
#[test]
fn the_built_in_model_is_as_it_was() {
    let verdict = check(&fixture("demo.gguf"));
    assert!(verdict.faults.is_empty(), "{:?}", verdict.faults);
    assert!(
        verdict.checked.iter().any(|what| what.contains("bit for bit")),
        "{:?}",
        verdict.checked
    );
}

/// As the first Mixtral files had them, and in two files.
fn old_layout(file: &[u8], folder: &Path) -> PathBuf {
    let gguf = Gguf::parse(file).unwrap();
    let mut tensors = Vec::new();
    for info in gguf.tensors.values() {
        let bytes = gguf.bytes(file, info);
        let spec = |name: String, dims: &[u64]| TensorSpec {
            name,
            dims: dims.to_vec(),
            dtype: info.dtype,
        };
        match info.name.strip_suffix("_exps.weight") {
            None => tensors.push((spec(info.name.clone(), &info.dims), bytes)),
            Some(stem) => {
                let experts = bytes
                    .chunks_exact(bytes.len() / info.dims[2] as usize)
                    .enumerate();
                tensors.extend(experts.map(|(e, bytes)| {
                    (spec(format!("{stem}.{e}.weight"), &info.dims[..2]), bytes)
                }));
            }
        }
    }
    let half = tensors.len() / 2 + 1;
    for (number, tensors) in [&tensors[..half], &tensors[half..]].into_iter().enumerate() {
        let mut metadata = if number == 0 {
            gguf.metadata.clone()
        } else {
            Metadata::new()
        };
        metadata.insert("split.no", number as u16);
        metadata.insert("split.count", 2u16);
        metadata.insert(
            "split.tensors.count",
            i32::try_from(tensors_count(&gguf)).unwrap(),
        );
        let specs = tensors.iter().map(|(spec, _)| spec.clone());
        let mut writer = GgufWriter::new(Vec::new(), &metadata, specs).unwrap();
        for (spec, bytes) in tensors {
            writer.write_tensor(&spec.name, bytes).unwrap();
        }
        let path = folder.join(format!("old-{:05}-of-00002.gguf", number + 1));
        std::fs::write(path, writer.finish().unwrap()).unwrap();
    }
    folder.join("old-00001-of-00002.gguf")
}

/// Tensors of the file when each expert has its own.
fn tensors_count(gguf: &Gguf) -> u64 {
    gguf.tensors
        .values()
        .map(|info| info.dims.get(2).copied().unwrap_or(1))
        .sum()
}

#[test]
fn old_layouts_come_back_without_loss() {
    let folder = TempDir::new().unwrap();
    for (target, first) in [
        ("Q4_K_M", "old-00001-of-00002.gguf"),
        ("F16", "old-00002-of-00002.gguf"),
    ] {
        let (path, new) = (
            folder.path().join("new.gguf"),
            folder.path().join("repacked.gguf"),
        );
        make(&fixture("tiny-mixtral"), &path, target);
        let expected = std::fs::read(&path).unwrap();
        old_layout(&strip(&expected, "bise."), folder.path());
        let report =
            repack(&folder.path().join(first), &new, None, &Silent, Some(&prober())).unwrap();
        assert!(
            report.notes.iter().any(|note| note == "joined 2 files"),
            "{:?}",
            report.notes
        );
        // All but the probes, which knew the source.
        let repacked = std::fs::read(&new).unwrap();
        assert!(strip(&repacked, "bise.") == strip(&expected, "bise."), "{target}");
        assert!(check(&new).faults.is_empty());
        // The quantizer reads the old layout, and writes the new.
        let (from_old, from_new) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
        make(&folder.path().join(first), &from_old, "Q4_0");
        make(&path, &from_new, "Q4_0");
        assert!(
            std::fs::read(from_old).unwrap() == std::fs::read(from_new).unwrap(),
            "{target}"
        );
    }
    let lone = folder.path().join("lone-00001-of-00002.gguf");
    std::fs::copy(folder.path().join("old-00001-of-00002.gguf"), &lone).unwrap();
    let error = repack(&lone, &folder.path().join("x.gguf"), None, &Silent, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("lone-00002-of-00002.gguf"), "{error}");
    let part = folder.path().join("old-00002-of-00002.gguf");
    assert!(
        repack(
            &folder.path().join("old-00001-of-00002.gguf"),
            &part,
            None,
            &Silent,
            None
        )
        .is_err()
    );
}

#[test]
fn the_command() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let bise = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_bise"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let (src, file) = (fixture("tiny-mixtral"), path.to_str().unwrap());
    assert!(
        bise(&["quantize", src.to_str().unwrap(), file, "--type", "Q4_0"])
            .status
            .success()
    );
    let good = bise(&["verify", file]);
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(
        good.status.success() && text.contains("bit for bit") && text.contains("SHA-256 of"),
        "{text}"
    );

    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 5000;
    bytes[at] ^= 16;
    std::fs::write(&path, bytes).unwrap();
    let bad = bise(&["verify", file, "--json", "--no-probe"]);
    assert_eq!(bad.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(json["good"], false);
    assert_eq!(json["faults"][0]["kind"], "bits");
    assert!(
        json["faults"][0]["what"]
            .as_str()
            .unwrap()
            .contains("output.weight"),
        "{json}"
    );
    assert_eq!(bise(&["verify", "/no/such/file"]).status.code(), Some(1));
    let built_in = bise(&["verify"]);
    let text = String::from_utf8(built_in.stdout).unwrap();
    assert!(
        built_in.status.success() && text.contains("bit for bit"),
        "{text}"
    );
}

/// The place of a tensor's bytes in the file.
fn place(file: &[u8], tensor: &str) -> std::ops::Range<usize> {
    let gguf = Gguf::parse(file).unwrap();
    let info = gguf.tensor(tensor).unwrap();
    let start = (gguf.data_offset + info.offset) as usize;
    start..start + info.len as usize
}

/// Pages that were not written, or to the wrong place, in files without hashes; good files of all
/// types have none.
#[test]
fn holes_and_pages_twice_show_without_hashes() {
    const PAGE: usize = 4096;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let faults = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let verdict = verify(&path, None).unwrap();
        let holes = verdict
            .faults
            .iter()
            .filter(|fault| fault.kind == FaultKind::Hole);
        holes.map(|fault| fault.what.clone()).collect::<Vec<_>>()
    };
    for target in ["F32", "F16", "Q8_0", "Q4_0", "Q2_K", "Q6_K", "IQ4_XS"] {
        make(&fixture("tiny-mixtral"), &path, target);
        let good = strip(&std::fs::read(&path).unwrap(), "bise.");
        assert_eq!(faults(&good), [""; 0], "{target}");
        let tensor = "blk.1.ffn_gate_exps.weight";
        let place = place(&good, tensor);
        let page = place.start.next_multiple_of(PAGE) + PAGE;
        for byte in [0, 0xcc] {
            let mut bad = good.clone();
            bad[page..page + PAGE].fill(byte);
            let found = faults(&bad);
            assert!(
                found.iter().any(|what| what.contains(tensor)),
                "{target}, {byte}: {found:?}"
            );
        }
        // Where whole rows fill a page it may be a copy of rows.
        let mut bad = good.clone();
        bad.copy_within(page..page + PAGE, page + 3 * PAGE);
        let row = place.len()
            / Gguf::parse(&good).unwrap().tensor(tensor).unwrap().dims[1..]
                .iter()
                .product::<u64>() as usize;
        let found = faults(&bad);
        let aligned = (3 * PAGE).is_multiple_of(row)
            && PAGE.is_multiple_of(row)
            && (page - place.start).is_multiple_of(row);
        assert!(
            aligned || found.iter().any(|what| what.contains(tensor)),
            "{target}: {found:?}"
        );
    }
}

/// Rows of zeros, as of tokens that nobody trained, rows that are all alike, and experts that are
/// copies.
#[test]
fn rows_of_zeros_and_copies_are_good() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    for target in ["F32", "F16", "Q8_0", "Q4_0"] {
        make(&fixture("tiny-mixtral"), &path, target);
        let mut bytes = strip(&std::fs::read(&path).unwrap(), "bise.");
        let embeddings = place(&bytes, "token_embd.weight");
        let rows = Gguf::parse(&bytes)
            .unwrap()
            .tensor("token_embd.weight")
            .unwrap()
            .dims[1] as usize;
        let row = embeddings.len() / rows;
        let (zeros, alike) = (embeddings.start + 10 * row, embeddings.start + 300 * row);
        bytes[zeros..zeros + 200 * row].fill(0);
        for i in 1..200 {
            bytes.copy_within(alike..alike + row, alike + i * row);
        }
        for part in ["gate", "up", "down"] {
            let experts = place(&bytes, &format!("blk.0.ffn_{part}_exps.weight"));
            let count = Gguf::parse(&bytes)
                .unwrap()
                .tensor(&format!("blk.0.ffn_{part}_exps.weight"))
                .unwrap()
                .dims[2];
            let len = experts.len() / count as usize;
            bytes.copy_within(experts.start..experts.start + len, experts.start + len);
        }
        std::fs::write(&path, bytes).unwrap();
        let verdict = verify(&path, None).unwrap();
        assert!(verdict.faults.is_empty(), "{target}: {:?}", verdict.faults);
    }
}

/// No file of the fixtures that runs is suspected.
#[test]
fn good_files_of_all_types_are_good() {
    let mut checked = 0;
    for folder in ["types", "gguf"] {
        for entry in std::fs::read_dir(fixture(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "gguf") {
                let verdict = verify(&path, None).unwrap();
                let holes: Vec<_> = verdict
                    .faults
                    .iter()
                    .filter(|f| f.kind == FaultKind::Hole)
                    .collect();
                assert!(holes.is_empty(), "{}: {holes:?}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "{checked}");
}
