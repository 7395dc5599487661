//! `soloist import`: imports the settings file that the owner wrote on the boot partition of the
//! box.
//!
//! Everybody who holds the card can read that file. So its settings are copied to the data
//! partition, and the file is reset to its content in the image, so that no password stays in it.
//! Settings that are written there later override those of the box one by one; settings that are
//! not in the file stay.
//!
//! A backup of an old card beside it is restored at the first start: see [`old_card`].
//!
//! [`take_over`] is pure; [`run`] reads and writes.

pub mod old_card;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::clock::Now;
use crate::config::{self, Flags, Incomplete, Surroundings};
use crate::exit::{Exit, complain, say};
use crate::fsutil::{self, Rights};

use old_card::OldCard;

/// The arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The owner's file on the boot partition.
    pub from: PathBuf,
    /// The same file as the image brings it.
    pub template: PathBuf,
    /// The directory for `soloist.toml` and `wpa_supplicant.conf`.
    pub into: PathBuf,
    /// The data directory, for the backup of an old card; without it none is looked for.
    pub data: Option<PathBuf>,
}

/// More than any such file has.
const MAX_FILE: u64 = 1 << 20;
/// Beside the owner's file, when something in it is wrong: perhaps the card is all that he can read.
const PROBLEMS: &str = "problems.txt";

/// What comes of the owner's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The settings for the data partition.
    pub settings: String,
    /// `wpa_supplicant.conf`, if the owner wrote about Wi-Fi.
    pub wifi: Option<String>,
}

/// What the owner wrote, over what the box has: `base` is the text of its settings. `Err` are
/// sentences for the owner.
///
/// # Errors
/// The file is not TOML, or says something about Wi-Fi that cannot be.
pub fn take_over(owner: &str, base: &str) -> Result<Imported, String> {
    let mut owner: DocumentMut = parse(owner)?;
    let mut settings: DocumentMut = parse(base)?;
    let wifi = match owner.remove("wifi") {
        Some(section) => wifi(&section)?,
        None => None,
    };
    settings.remove("wifi");
    overlay(settings.as_table_mut(), owner.as_table());
    Ok(Imported { settings: settings.to_string(), wifi })
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    // Windows' editors may begin a file with a byte order mark.
    text.trim_start_matches('\u{feff}').parse().map_err(|error: toml_edit::TomlError| {
        let before =
            error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count());
        // The parser's own words could quote a password.
        format!(
            "Near line {} the file is not as its explanations say: is a quotation mark missing?",
            before.max(1)
        )
    })
}

/// Every value that says something: an empty text says nothing. Lists of sections are replaced.
fn overlay(base: &mut dyn TableLike, over: &dyn TableLike) {
    for (key, item) in over.iter() {
        match item {
            Item::None => {}
            Item::Value(Value::String(text)) if text.value().is_empty() => {}
            Item::Value(value) => match base.get_mut(key).and_then(Item::as_value_mut) {
                Some(old) => {
                    let decor = old.decor().clone();
                    *old = value.clone();
                    *old.decor_mut() = decor;
                }
                None => {
                    base.insert(key, Item::Value(value.clone()));
                }
            },
            Item::Table(table) => match base.get_mut(key).and_then(Item::as_table_like_mut) {
                Some(old) => overlay(old, table),
                None => {
                    base.insert(key, item.clone());
                }
            },
            Item::ArrayOfTables(_) => {
                base.insert(key, item.clone());
            }
        }
    }
}

/// `[wifi]` as wpa_supplicant.conf(5); `None` if nothing is said.
fn wifi(section: &Item) -> Result<Option<String>, String> {
    let table = section.as_table_like().ok_or("'wifi' is a section: [wifi]")?;
    let text = |key: &str| match table.get(key) {
        None => Ok(""),
        Some(item) => item.as_str().ok_or(format!("[wifi] {key} must be in quotation marks.")),
    };
    if let Some((key, _)) =
        table.iter().find(|(key, _)| !["ssid", "password", "country"].contains(key))
    {
        return Err(format!(
            "[wifi] knows ssid, password and country, not {}.",
            key.escape_default()
        ));
    }
    let (ssid, password, country) = (text("ssid")?, text("password")?, text("country")?);
    if ssid.is_empty() {
        return match password.is_empty() {
            true => Ok(None),
            false => Err("[wifi] has a password, but ssid, the network's name, is empty.".into()),
        };
    }
    if ssid.len() > 32 {
        return Err(
            "[wifi] ssid is longer than the 32 bytes that a network's name may have.".into()
        );
    }
    let key = match password.len() {
        0 => "key_mgmt=NONE".to_owned(),
        8..=63 if password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
            format!("key_mgmt=WPA-PSK WPA-PSK-SHA256 SAE\n\tieee80211w=1\n\tpsk=\"{password}\"")
        }
        _ => {
            return Err(
                "[wifi] password must have 8 to 63 letters, digits or signs of English.".into()
            );
        }
    };
    let country = match country.as_bytes() {
        [] => String::new(),
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            format!("country={}\n", country.to_ascii_uppercase())
        }
        _ => return Err("[wifi] country is two letters, like \"DE\" or \"US\".".into()),
    };
    // As hexadecimal numbers: a name may hold whatever it likes.
    let ssid = faster_hex::hex_string(ssid.as_bytes());
    Ok(Some(format!("{country}network={{\n\tssid={ssid}\n\tscan_ssid=1\n\t{key}\n}}\n")))
}

/// Takes the owner's file over and makes it what it was at first. A file with a mistake is left as
/// it is, with `problems.txt` beside it, and changes nothing; without settings from before, the box
/// then gets those of the image.
pub fn run(now: Now, args: &Args) -> Exit {
    match import(now, args) {
        Ok(sentences) if sentences.is_empty() => Exit::Ok,
        Ok(sentences) => {
            sentences.iter().for_each(say);
            let text = sentences.join("\r\n") + "\r\n";
            let file = args.from.with_file_name(PROBLEMS);
            if let Err(error) = fsutil::replace(&file, text.as_bytes(), Rights::Keep(0o666)) {
                complain(format_args!("{PROBLEMS} cannot be written: {}", error.source));
            }
            Exit::Config
        }
        Err(error) => {
            complain(format_args!("soloist import: {error}"));
            Exit::CannotWrite
        }
    }
}

/// The sentences are the owner's mistakes.
fn import(now: Now, args: &Args) -> io::Result<Vec<String>> {
    let template = fs::read_to_string(&args.template)?;
    let target = args.into.join("soloist.toml");
    let before = fs::read_to_string(&target).ok().filter(|text| !text.trim().is_empty());
    let boot = args.from.parent().unwrap_or(Path::new("."));
    let mut old = match &args.data {
        Some(data) => old_card::take_up(now, boot, data),
        None => OldCard::default(),
    };
    let image = before.clone().unwrap_or_else(|| template.clone());
    // Settings that only the image made are not the owner's: those of the old card go over them.
    let own = before.as_ref().is_some_and(|text| is_set_up(text, &args.into));
    let base = match old.settings.take().filter(|_| !own) {
        Some(settings) => lay_old(&settings, &image, &mut old, &args.into),
        None => image.clone(),
    };
    old.sentences.iter().for_each(say);
    let owner = match read(&args.from) {
        Ok(Ok(text)) => text,
        Ok(Err(sentence)) => return Ok(vec![sentence]),
        // Whoever deletes the file wants nothing changed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    fs::create_dir_all(&args.into)?;
    let (taken, mut problems) = match take_over(&owner, &base) {
        Ok(taken) => (taken, Vec::new()),
        Err(sentence) => {
            let base = take_over("", &base).map_err(|_| io::ErrorKind::InvalidData)?;
            (base, vec![sentence])
        }
    };
    let taken = Imported { settings: asked_again(taken.settings, &old, &image), ..taken };
    let untouched = take_over("", &base)
        .is_ok_and(|plain| asked_again(plain.settings, &old, &image) == taken.settings);
    if !untouched && let Err(sentences) = judge(&taken.settings, &args.into) {
        problems.extend(sentences);
    }
    // Without the radio the owner might not even reach the page.
    if let Some(wifi) = &taken.wifi {
        write(&args.into.join("wpa_supplicant.conf"), wifi)?;
    }
    problems.extend(certificates(&taken.settings, boot, &args.into)?);
    match problems.is_empty() {
        true => {
            if before.as_ref() != Some(&taken.settings) {
                write(&target, &taken.settings)?;
            }
            restore(&args.from, &template, owner.len())?;
            let _ = fs::remove_file(args.from.with_file_name(PROBLEMS));
        }
        false if before.is_none() => {
            let plain = take_over("", &base).map_err(|_| io::ErrorKind::InvalidData)?;
            write(&target, asked_again(plain.settings, &old, &image))?;
        }
        false => {}
    }
    Ok(problems)
}

/// Certificates of nodes (`NAME.pem` or `.crt`) that are named without a directory: they lie beside the owner's file, and
/// from now on beside that of the box. They are no secret, so they stay on the card as well.
fn certificates(settings: &str, boot: &Path, into: &Path) -> io::Result<Vec<String>> {
    let Ok(settings) = settings.parse::<DocumentMut>() else { return Ok(Vec::new()) };
    let node = settings.get("node");
    let backups = node.and_then(|node| node.get("backup")).and_then(Item::as_array_of_tables);
    let backups = backups.into_iter().flatten().filter_map(|backup| backup.get("rpc_cert_path"));
    let own = node.and_then(|node| node.get("rpc_cert_path"));
    let mut sentences = Vec::new();
    for name in own.into_iter().chain(backups).filter_map(Item::as_str) {
        let here = |path: &&str| {
            let known = Path::new(path).extension().is_some_and(|e| e == "pem" || e == "crt");
            known && Path::new(path).file_name().is_some_and(|name| name == *path)
        };
        let Some(name) = Some(name).filter(here) else { continue };
        match fs::metadata(boot.join(name)) {
            Ok(file) if file.len() > MAX_FILE => {
                sentences.push(format!("{name} is larger than any certificate is."));
            }
            Ok(_) => {
                let text = fs::read(boot.join(name))?;
                if fs::read(into.join(name)).ok().as_ref() != Some(&text) {
                    write(&into.join(name), &text)?;
                }
            }
            Err(_) if into.join(name).exists() => {}
            Err(_) => sentences.push(format!(
                "rpc_cert_path names {name}: put that file beside soloist.toml on the card."
            )),
        }
    }
    Ok(sentences)
}

/// An old box's settings over those of this one, but for what belongs to the box itself: where its
/// data lie, and addresses of its own to listen on.
///
/// # Errors
/// As for [`take_over`].
pub fn overlay_old(settings: &str, base: &str) -> Result<String, String> {
    let mut old = parse(settings)?;
    if let Some(data) = old.get_mut("data").and_then(Item::as_table_like_mut) {
        data.remove("dir");
    }
    for section in ["stratum", "http"] {
        for key in ["listen", "tls_listen"] {
            let table = old.get_mut(section).and_then(Item::as_table_like_mut);
            if let Some(table) = table.filter(|table| table.get(key).is_some_and(names_an_address))
            {
                table.remove(key);
            }
        }
    }
    take_over(&old.to_string(), base).map(|taken| taken.settings)
}

/// Another box has another address, and a port that cannot be opened keeps it from starting.
fn names_an_address(listen: &Item) -> bool {
    let anywhere = |text: &str| text.starts_with("0.0.0.0:") || text.starts_with("[::]:");
    match listen.as_value() {
        Some(Value::String(text)) => !anywhere(text.value()),
        Some(Value::Array(list)) => list.iter().any(|one| !one.as_str().is_some_and(anywhere)),
        _ => true,
    }
}

/// The old card's settings over those of the image; those alone when they cannot be used here.
fn lay_old(settings: &str, image: &str, old: &mut OldCard, dir: &Path) -> String {
    let laid = overlay_old(settings, image);
    match laid {
        Ok(laid) if try_settings(&laid, dir, Incomplete::Allowed).is_ok() => {
            old.from_it = true;
            laid
        }
        _ => {
            old.sentences.push("Its settings cannot be used here: set the box up anew.".to_owned());
            image.to_owned()
        }
    }
}

/// Without a PIN nobody could give the nodes' passwords on the page, which a plain backup lacks: so
/// the nodes are left out, and the page's set-up asks for both.
fn asked_again(settings: String, old: &OldCard, image: &str) -> String {
    if !old.from_it || old.whole {
        return settings;
    }
    without_nodes(settings, image)
}

/// The nodes of `image` in the place of the settings', unless there is a PIN.
pub fn without_nodes(settings: String, image: &str) -> String {
    let (Ok(mut doc), Ok(image)) = (parse(&settings), parse(image)) else { return settings };
    let pin = doc.get("http").and_then(|http| http.get("pin")).and_then(Item::as_str);
    if pin.is_some_and(|pin| !pin.is_empty()) {
        return settings;
    }
    match image.get("node") {
        Some(node) => doc.insert("node", node.clone()),
        None => doc.remove("node"),
    };
    doc.to_string()
}

/// The text, or a sentence about why it is none.
fn read(path: &Path) -> io::Result<Result<String, String>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Ok(Err("The file is larger than any settings are.".into()));
    }
    let bytes = fs::read(path)?;
    let no_text = "The file is not plain text (UTF-8): save it as such.";
    Ok(String::from_utf8(bytes).map_err(|_| no_text.into()))
}

/// What the daemon will say to these settings.
fn judge(settings: &str, dir: &Path) -> Result<(), Vec<String>> {
    match try_settings(settings, dir, Incomplete::Refused) {
        Ok(_) => Ok(()),
        Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
    }
}

fn is_set_up(settings: &str, dir: &Path) -> bool {
    try_settings(settings, dir, Incomplete::Allowed).is_ok_and(|config| config.is_set_up())
}

fn try_settings(
    settings: &str,
    dir: &Path,
    incomplete: Incomplete,
) -> Result<config::Config, config::Problems> {
    let surroundings = Surroundings {
        file_dir: dir.into(),
        home: None,
        runtime_dir: None,
        data_dir: "/data/soloist".into(),
    };
    let file = Some(("soloist.toml", settings));
    config::build_with(file, &Flags::default(), &surroundings, incomplete).map(|built| built.config)
}

/// Replaces a file as a whole, readable to its owner alone.
fn write(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    Ok(fsutil::replace(path, text.as_ref(), Rights::Set(0o600))?)
}

/// Makes the owner's file the image's again. A deleted file's sectors keep what was in them, so
/// they are written over first; when the power fails then, the file is empty lines, which say
/// nothing.
fn restore(from: &Path, template: &str, length: usize) -> io::Result<()> {
    if from.exists() {
        write_over(from, length)?;
    }
    write(from, template)
}

fn write_over(path: &Path, length: usize) -> io::Result<()> {
    let mut old = OpenOptions::new().write(true).open(path)?;
    old.write_all("\n".repeat(length).as_bytes())?;
    old.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const TEMPLATE: &str = "# Explained.\n#[wifi]\n#ssid = \"\"\n\n[payout]\n# Who is paid.\n\
                            address = \"\"\n#tag = \"Soloist\"\n\n[node]\nrpc_url = \"\" # where\n";

    fn now() -> Now {
        Now { mono: std::time::Instant::now(), unix: 1_790_000_000 }
    }

    struct Card(tempfile::TempDir, Args);

    impl Card {
        fn new(owner: &str) -> Card {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            fs::create_dir(path("boot")).unwrap();
            fs::write(path("boot/soloist.toml"), owner).unwrap();
            fs::write(path("template"), TEMPLATE).unwrap();
            let (from, template) = (path("boot/soloist.toml"), path("template"));
            let args = Args { from, template, into: path("config"), data: None };
            Card(dir, args)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.path().join(name)).ok()
        }

        fn write_again(&self, owner: &str) {
            fs::write(&self.1.from, owner).unwrap();
        }
    }

    fn filled() -> String {
        TEMPLATE
            .replace("address = \"\"", &format!("address = \"{ADDRESS}\""))
            .replace("rpc_url = \"\"", "rpc_url = \"http://u:geheim@10.0.0.1\"")
            .replace(
                "#[wifi]\n#ssid = \"\"",
                "[wifi]\nssid = \"Zuhause\"\npassword = \"geheimes wlan\"",
            )
    }

    #[test]
    fn the_first_start_takes_all_and_leaves_no_secret() {
        let card = Card::new(&filled().replace('\n', "\r\n"));
        assert_eq!(run(now(), &card.1), Exit::Ok);
        let settings = card.read("config/soloist.toml").unwrap();
        assert!(settings.contains(ADDRESS) && settings.contains("geheim@"), "{settings}");
        assert!(settings.contains("# Who is paid.") && !settings.contains("wlan"), "{settings}");
        let wifi = card.read("config/wpa_supplicant.conf").unwrap();
        assert!(wifi.contains("ssid=5a756861757365\n"), "{wifi}");
        assert!(wifi.contains("psk=\"geheimes wlan\"\n"), "{wifi}");
        assert_eq!(card.read("boot/soloist.toml").unwrap(), TEMPLATE);
        // And again, with nothing to do.
        assert_eq!(run(now(), &card.1), Exit::Ok);
        assert_eq!(card.read("config/soloist.toml").unwrap(), settings);
    }

    #[test]
    fn later_words_change_what_they_say_and_nothing_else() {
        let card = Card::new(&filled());
        assert_eq!(run(now(), &card.1), Exit::Ok);
        card.write_again("[payout]\naddress = \"\"\ntag = \"Anna\"\n[[node.backup]]\nrpc_url = \"http://x:y@10.0.0.2\"\n");
        assert_eq!(run(now(), &card.1), Exit::Ok, "{:?}", card.read("boot/problems.txt"));
        let settings = card.read("config/soloist.toml").unwrap();
        for kept in [ADDRESS, "geheim@10.0.0.1", "tag = \"Anna\"", "10.0.0.2", "# Who is paid."] {
            assert!(settings.contains(kept), "{kept} in {settings}");
        }
        assert!(card.read("config/wpa_supplicant.conf").is_some());
        assert_eq!(card.read("boot/soloist.toml").unwrap(), TEMPLATE);
    }

    #[test]
    fn a_mistake_changes_nothing_and_is_told_on_the_card() {
        let card = Card::new(&filled());
        assert_eq!(run(now(), &card.1), Exit::Ok);
        let before = card.read("config/soloist.toml");
        for (wrong, word) in [
            ("[payout]\naddress = \"bc1qwrong\"\n", "address"),
            ("[payout\naddress = geheim\n", "line 1"),
            ("[wifi]\nssid = \"x\"\npassword = \"kurz\"\n", "8 to 63"),
            ("[wifi]\nname = \"x\"\n", "ssid"),
            ("[nodes]\nx = 1\n", "nodes"),
        ] {
            card.write_again(wrong);
            assert_eq!(run(now(), &card.1), Exit::Config, "{wrong}");
            assert_eq!(card.read("config/soloist.toml"), before, "{wrong}");
            assert_eq!(card.read("boot/soloist.toml").unwrap(), wrong);
            let told = card.read("boot/problems.txt").unwrap();
            assert!(told.contains(word) && !told.contains("geheim"), "{told}");
        }
        card.write_again(TEMPLATE);
        assert_eq!(run(now(), &card.1), Exit::Ok);
        assert_eq!(card.read("boot/problems.txt"), None);
    }

    #[test]
    fn a_certificate_on_the_card_goes_along() {
        let owner = filled()
            .replace("http://u:geheim@10.0.0.1", "https://u:geheim@10.0.0.1")
            .replace(" # where\n", "\nrpc_cert_path = \"node.pem\"\n");
        let card = Card::new(&owner);
        assert_eq!(run(now(), &card.1), Exit::Config);
        let told = card.read("boot/problems.txt").unwrap();
        assert!(told.contains("rpc_cert_path names node.pem: put that file"), "{told}");
        fs::write(card.0.path().join("boot/node.pem"), "words").unwrap();
        assert_eq!(run(now(), &card.1), Exit::Ok);
        assert_eq!(card.read("config/node.pem").as_deref(), Some("words"));
        // Once it is there it need not stay on the card, and another one goes over it.
        let again = "[payout]\ntag = \"Anna\"\n";
        fs::remove_file(card.0.path().join("boot/node.pem")).unwrap();
        card.write_again(again);
        assert_eq!(run(now(), &card.1), Exit::Ok);
        fs::write(card.0.path().join("boot/node.pem"), "other").unwrap();
        card.write_again(again);
        assert_eq!(run(now(), &card.1), Exit::Ok);
        assert_eq!(card.read("config/node.pem").as_deref(), Some("other"));
        // A path is the box's own affair.
        card.write_again("[node]\nrpc_cert_path = \"../boot/soloist.toml\"\n");
        assert_eq!(run(now(), &card.1), Exit::Ok);
    }

    #[test]
    fn without_settings_the_box_gets_those_of_the_image() {
        let card = Card::new("\u{feff}[wifi\n");
        assert_eq!(run(now(), &card.1), Exit::Config);
        assert_eq!(card.read("config/soloist.toml").unwrap(), TEMPLATE);
        let untouched = Card::new(TEMPLATE);
        assert_eq!(run(now(), &untouched.1), Exit::Ok);
        assert_eq!(untouched.read("config/soloist.toml").unwrap(), TEMPLATE);
        fs::remove_file(&untouched.1.from).unwrap();
        assert_eq!(run(now(), &untouched.1), Exit::Ok, "the file is gone");
        assert_eq!(untouched.read("boot/soloist.toml").unwrap(), TEMPLATE);
        let garbage = Card::new("");
        fs::write(&garbage.1.from, [0xff; 300]).unwrap();
        assert_eq!(run(now(), &garbage.1), Exit::Config);
    }

    #[test]
    fn a_network_cannot_smuggle_lines_in() {
        let wifi = |text: &str| take_over(text, "").map(|taken| taken.wifi.unwrap());
        let open = wifi("[wifi]\nssid = \"a\\\"}\\nnetwork={\"\ncountry = \"de\"\n").unwrap();
        assert!(open.starts_with("country=DE\nnetwork={\n\tssid=61227d0a"), "{open}");
        assert_eq!(open.matches('\n').count(), 6, "{open}");
        assert!(open.contains("key_mgmt=NONE"), "{open}");
        for wrong in [
            "[wifi]\nssid = \"a\"\npassword = \"12345\\n78\"\n",
            "[wifi]\nssid = \"123456789012345678901234567890123\"\n",
            "[wifi]\nssid = \"a\"\ncountry = \"Germany\"\n",
            "[wifi]\npassword = \"12345678\"\n",
            "wifi = 3\n",
            "[wifi]\nssid = 3\n",
        ] {
            assert!(wifi(wrong).is_err(), "{wrong}");
        }
    }
}
