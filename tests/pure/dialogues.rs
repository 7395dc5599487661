//! Dialogues with every known firmware, and with none: golden files, arbitrary bytes, arbitrary
//! miners. See `tests/pure/dialogues/README.md`.
#![allow(clippy::unwrap_used)]

mod anyone;
mod script;
mod v2;
mod watch;
mod world;

use std::fs;
use std::path::Path;

#[test]
fn every_golden_dialogue() {
    play_all("tests/pure/dialogues", 20, script::play);
}

#[test]
fn every_golden_dialogue_of_stratum_v2() {
    play_all("tests/pure/dialogues/v2", 8, v2::play);
}

fn play_all(folder: &str, at_least: usize, play: fn(&str, &str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= at_least, "only {} dialogues were found", files.len());
    let mut failures = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let played = std::panic::catch_unwind(|| play(&name, &text));
        if let Err(why) = played {
            let why = why.downcast_ref::<String>().cloned();
            failures.push(why.unwrap_or_else(|| format!("{name}: a rule is broken, see above")));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    println!("{} dialogues", files.len());
}
