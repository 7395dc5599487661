//! The two files that are made of the declarations of the settings (`src/config/sections.rs`): the
//! config that the image carries, and the reference. After a change of a declaration this writes
//! them anew: `SOLOIST_WRITE=1 cargo test --test pure config_reference`

use std::fs;
use std::path::Path;

use soloist::config::reference;

#[test]
fn the_files_of_the_declarations_are_up_to_date() {
    let files =
        [("image/soloist.toml", reference::file()), ("docs/settings.md", reference::page())];
    for (name, wanted) in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("SOLOIST_WRITE").is_some() {
            fs::write(&path, &wanted).expect("the tree can be written");
        }
        let text = fs::read_to_string(&path).expect("it is there");
        let differs = text.lines().zip(wanted.lines()).find(|(is, wanted)| is != wanted);
        assert!(
            text == wanted,
            "{name} is not what src/config/sections.rs declares, first here: {differs:?}. Say: \
             SOLOIST_WRITE=1 cargo test --test pure config_reference"
        );
    }
}
