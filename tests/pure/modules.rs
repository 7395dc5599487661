//! The layers of the house: lib.rs lists the modules layer by layer, and each uses only those of the
//! layers above it. So there is no circle, and no way for a pure module to come to a clock or a file by
//! another.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a pure module has no business with.
const IMPURE: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "getrandom",
    "smol::",
];

#[test]
fn each_module_uses_only_the_layers_above_it() {
    let modules = modules();
    let layers: BTreeMap<&str, usize> =
        modules.iter().map(|module| (module.name.as_str(), module.layer)).collect();
    let mut broken = Vec::new();
    let mut uses = 0;
    for module in &modules {
        for (file, code) in &module.files {
            for used in used_by(code) {
                let Some(layer) = layers.get(used.as_str()) else {
                    broken.push(format!("{}: crate::{used} is no module", file.display()));
                    continue;
                };
                uses += usize::from(used != module.name);
                if used != module.name && *layer >= module.layer {
                    broken.push(format!(
                        "{}: {used} is no layer above {}",
                        file.display(),
                        module.name
                    ));
                }
            }
        }
    }
    broken.sort();
    broken.dedup();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(modules.len() > 30 && uses > 200, "{} modules, {uses} uses", modules.len());
}

#[test]
fn pure_modules_do_no_io() {
    let mut broken = Vec::new();
    let mut pure = 0;
    for module in modules().iter().filter(|module| module.is_pure) {
        pure += 1;
        for (file, code) in &module.files {
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                broken.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(pure > 15, "{pure} pure modules");
}

/// ARCHITECTURE.md has a line for each module, and no two lines for one.
#[test]
fn the_overview_names_each_module() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, overview) = text.split_once("## The map").unwrap();
    let overview = overview.split("\n## ").next().unwrap();
    let names = |name: &str| {
        [format!("{name}.rs"), format!("{name}/")]
            .iter()
            .any(|name| overview.split([' ', ',', '\n']).any(|word| word == name))
    };
    let missing: Vec<String> =
        modules().into_iter().map(|module| module.name).filter(|name| !names(name)).collect();
    assert!(missing.is_empty(), "not in ARCHITECTURE.md: {missing:?}");

    let begins = overview.lines().filter_map(|line| line.strip_prefix("    "));
    let begins = begins.filter_map(|line| line.split([' ', ',']).next());
    let mut seen = BTreeSet::new();
    for name in begins.filter(|name| name.ends_with(".rs") || name.ends_with('/')) {
        assert!(seen.insert(name), "{name} has two lines in ARCHITECTURE.md");
    }
}

/// `tests/features` sees to it, where cargo is asked for the whole workspace. Otherwise tests would be left
/// out, and nobody would notice.
#[test]
fn whatever_is_tested_has_all_that_can_be_built_in() {
    let features = [
        ("demo", cfg!(feature = "demo")),
        ("mqtt", cfg!(feature = "mqtt")),
        ("zmq", cfg!(feature = "zmq")),
    ];
    let missing: Vec<_> = features.iter().filter(|(_, is_there)| !is_there).collect();
    assert!(missing.is_empty(), "say cargo test without --package: {missing:?}");
}

struct Module {
    name: String,
    /// Counted from the top.
    layer: usize,
    is_pure: bool,
    /// Without comments and tests.
    files: Vec<(PathBuf, String)>,
}

/// In the order of lib.rs.
fn modules() -> Vec<Module> {
    let src = root().join("src");
    let mut modules = Vec::new();
    let (mut layer, mut is_pure) = (0, false);
    for line in fs::read_to_string(src.join("lib.rs")).unwrap().lines() {
        if let Some(title) = line.strip_prefix("// -- ") {
            layer += 1;
            is_pure = title.starts_with("pure");
        }
        let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'))
        else {
            continue;
        };
        let mut files = Vec::new();
        collect(&src.join(format!("{name}.rs")), &mut files);
        collect(&src.join(name), &mut files);
        assert!(!files.is_empty(), "{name} has no file");
        modules.push(Module { name: name.to_owned(), layer, is_pure, files });
    }
    modules
}

/// Files and folders named `tests` are left out.
fn collect(path: &Path, files: &mut Vec<(PathBuf, String)>) {
    if path.file_stem().is_some_and(|stem| stem == "tests") {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.extension().is_some_and(|end| end == "rs")
        && let Ok(text) = fs::read_to_string(path)
    {
        files.push((path.strip_prefix(root()).unwrap().to_owned(), code(&text)));
    }
}

/// The text without comments, and without what stands behind `#[cfg(test)]` at the end of a file.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        if line == "#[cfg(test)]" {
            break;
        }
        let end = line.find("//").unwrap_or(line.len());
        code.push_str(&line[..end]);
        code.push('\n');
    }
    code
}

/// The modules that `crate::name` and `crate::{name, …}` speak of.
fn used_by(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => used.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            used.push(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
