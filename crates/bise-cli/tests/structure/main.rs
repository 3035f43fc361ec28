//! What must stand in one place only, and what must not use what, held by looking through the
//! sources.

mod imports;
mod source;

use bise_kernels::block::DType;
use imports::Crate;
use std::collections::BTreeSet;
use std::fs;

/// The code of a source, line by line, without comments and without the unit tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    let before_tests = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    before_tests.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a literal in `line` names a tensor as GGUF does.
fn names_a_tensor(line: &str) -> bool {
    const PARTS: [&str; 13] = [
        "blk.",
        "_exps",
        "token_embd",
        "output_norm",
        "rope_freqs",
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    // Every second piece between quotes is a literal, a line at a time.
    let mut literals = line.split('"').skip(1).step_by(2);
    literals.any(|text| text == "output.weight" || PARTS.iter().any(|part| text.contains(part)))
}

/// Fails with `advice` where a line of code of the workspace is `found`, but for the files below
/// `allowed`.
fn refuse_lines(allowed: &[&str], advice: &str, found: impl Fn(&str) -> bool) {
    let mut paths = Vec::new();
    for src in source::crates() {
        source::sources(&src, &mut paths);
    }
    assert!(paths.len() > 200, "{} sources", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let name = source::name(&path);
        let is_test = name.ends_with("/tests.rs");
        if is_test || allowed.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = code(&text).filter(|(_, line)| found(line));
        wrong.extend(lines.map(|(n, line)| format!("{name}:{}: {}", n + 1, line.trim())));
    }
    assert!(wrong.is_empty(), "{advice}:\n{}", wrong.join("\n"));
}

/// GGUF's names of tensors are read and written by `TensorName` alone.
#[test]
fn tensor_names_have_one_place() {
    // Mistral's own name of the output matrix is that of GGUF.
    let allowed = [
        "crates/bise-format/src/tensor_name.rs",
        "crates/bise-format/src/native.rs",
    ];
    refuse_lines(&allowed, "use TensorName", names_a_tensor);
}

/// Whether the code in `line` names a format that tensors are stored in. F32 is not counted: it is
/// what numbers are computed in, and the name of values' types too.
fn names_a_format(line: &str) -> bool {
    // Every second piece is outside of quotes.
    let code: String = line.split('"').step_by(2).collect();
    let code = code.split("//").next().unwrap_or_default();
    let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let formats = || DType::ALL.iter().filter(|dtype| **dtype != DType::F32);
    words.any(|word| formats().any(|dtype| word == format!("{dtype:?}")))
}

/// What is different about a format stands in its own file, and everybody else asks the registry: a
/// new format is a file and a line.
#[test]
fn formats_are_named_by_the_registry() {
    let allowed = [
        // The formats, and their table.
        "crates/bise-kernels/src/block/",
        // Those that keys and values are cached in, and their table.
        "crates/bise-kernels/src/ops/attention/kv.rs",
        "crates/bise-kernels/src/ops/attention/plain.rs",
        "crates/bise-kernels/src/ops/attention/q8_0.rs",
        // Which tensors get which types.
        "tools/quantize/src/choose/recipe.rs",
    ];
    refuse_lines(&allowed, "ask the registry", names_a_format);
}

/// The circles among files: each is all files that reach one another.
fn circles(read: &Crate) -> Vec<Vec<usize>> {
    let files = 0..read.files.len();
    let mut used = vec![Vec::new(); files.len()];
    for &(user, owner) in read.uses.keys() {
        used[user].push(owner);
    }
    let reached = |start: usize| {
        let (mut found, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(user) = open.pop() {
            open.extend(used[user].iter().copied().filter(|owner| found.insert(*owner)));
        }
        found
    };
    let reached: Vec<BTreeSet<usize>> = files.clone().map(reached).collect();
    let circle = |n: usize| -> Vec<usize> {
        let with = reached[n].iter().copied();
        with.filter(|other| reached[*other].contains(&n)).collect()
    };
    let all = files.map(|n| (n, circle(n)));
    all.filter(|(n, circle)| circle.first() == Some(n))
        .map(|(_, circle)| circle)
        .collect()
}

/// Files do not use one another in circles: what stands below does not know what stands upon it.
///
/// File A uses file B when A's code imports an item that B defines, or has a path to it. Comments
/// and what stands under `#[cfg(test)]` are no code. Items are what `fn`, `struct`, `enum`,
/// `trait`, `type`, `const`, `static` or `macro_rules!` defines at the top of a module; calls of
/// methods are not followed, nor are paths into other crates, which Cargo keeps in order. `mod b;`
/// is no use, and neither is the import of a module before an item of it is named. A `pub use` in a
/// file that declares modules, a facade, is a use only if the file's own code has the name too. Who
/// names an item by way of a facade uses the file that defines it.
#[test]
fn files_do_not_import_in_circles() {
    let mut wrong = String::new();
    let mut uses = 0;
    for src in source::crates() {
        let roots = [src.join("lib.rs"), src.join("main.rs")];
        let read = imports::read(roots.iter().find(|root| root.exists()).unwrap());
        uses += read.uses.len();
        let names: Vec<_> = read.files.iter().map(|path| source::name(path)).collect();
        for circle in circles(&read) {
            wrong += "a circle:\n";
            for &user in &circle {
                wrong += &format!("  {}\n", names[user]);
                for owner in &circle {
                    if let Some(path) = read.uses.get(&(user, *owner)) {
                        wrong += &format!("    uses {} by {path}\n", names[*owner]);
                    }
                }
            }
        }
    }
    assert!(uses > 500, "{uses} uses");
    assert!(wrong.is_empty(), "{wrong}");
}
