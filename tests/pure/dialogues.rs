//! Dialogues with every known firmware, and with none: golden files, arbitrary bytes, arbitrary
//! miners. See `tests/pure/dialogues/README.md`.
#![allow(clippy::unwrap_used)]

mod anyone;
mod script;
mod watch;
mod world;

use std::fs;
use std::path::Path;

#[test]
fn every_golden_dialogue() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pure/dialogues");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "only {} dialogues were found", files.len());
    let mut failures = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let played = std::panic::catch_unwind(|| script::play(&name, &text));
        if let Err(why) = played {
            let why = why.downcast_ref::<String>().cloned();
            failures.push(why.unwrap_or_else(|| format!("{name}: a rule is broken, see above")));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    println!("{} dialogues", files.len());
}
