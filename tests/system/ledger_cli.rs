//! `soloist backup`, `restore` and `export` as a user says them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use soloist::chain::BlockHash;
use soloist::ledger::backup::MAX_BACKUP;
use soloist::ledger::store::Store;
use soloist::ledger::totals::LedgerEvent;

use crate::ledger_world::World;

const START: u64 = 1_790_000_000;
const CONFIG: &str = r#"
[node]
rpc_url = "http://192.168.1.10:8332"
rpc_user = "anna"
rpc_pass = "geheim-4711"
[payout]
address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
"#;

fn soloist(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

/// The exit code and all words.
fn said(words: &[&str], input: &str) -> (Option<i32>, String) {
    let output = soloist(words, input);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn mined(dir: &Path) -> World {
    let mut world = World::open(dir, START);
    world.tell(LedgerEvent::Network { difficulty: 1e9 });
    let miner = world.ledger.worker(world.now(), "garage", "bitaxe");
    for _ in 0..50 {
        world.mine(miner, 3600, 60);
    }
    let hash = BlockHash([3; 32]);
    let (height, difficulty, reward) = (900_001, 1e12, 312_500_000);
    world.tell(LedgerEvent::BlockFound {
        worker: miner,
        hash,
        height,
        difficulty,
        reward,
        payee: String::new(),
    });
    world.mine(miner, 1200, 60);
    world
}

/// The rights of a file.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_old_cards_backup_goes_onto_a_new_card() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (old, new, file, config) = (path("old"), path("new"), path("backup"), path("soloist.toml"));
    fs::write(&config, CONFIG).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let world = mined(Path::new(&old));
    let told = |world: &World| world.ledger.total().totals().ever.accepted;
    let had = told(&world);
    // Each card has made a key of its own at its first start.
    let key = |data: &str| Path::new(data).join("authority-key");
    fs::write(key(&old), [7; 32]).unwrap();
    fs::create_dir(&new).unwrap();
    fs::write(key(&new), [8; 32]).unwrap();

    // Beside the running Soloist: its lock is held by this world.
    let (code, words) = said(&["backup", &file, "--data", &old, "--config", &config], "");
    assert_eq!(code, Some(0), "{words}");
    println!("{words}");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() < MAX_BACKUP);
    assert!(words.contains("whoever has the file can pose as this box"), "{words}");
    assert_eq!(mode(Path::new(&file)), 0o600);
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(
        holds(&bytes, "192.168.1.10") && !holds(&bytes, "geheim-4711"),
        "{} bytes",
        bytes.len()
    );

    let (code, words) = said(&["restore", &file, "--data", &old, "--config", &config], "");
    assert_eq!(code, Some(69), "{words}");
    assert!(words.contains("Stop it first"), "{words}");
    drop(world);

    let (code, words) = said(&["restore", &file, "--data", &new], "");
    assert_eq!(code, Some(0), "{words}");
    println!("{words}");
    let restored = World::open(Path::new(&new), START + 86_400 * 3);
    // What the journal is told every ten minutes is in it.
    let has = told(&restored);
    assert!((had - 11..=had).contains(&has), "{has} of {had}");
    assert_eq!(restored.ledger.blocks().len(), 1);
    assert_eq!(restored.ledger.notes().count(), 0);
    // Miners that were told the key of the old card know the new one by it.
    assert!(words.contains("by the key of the backup"), "{words}");
    assert_eq!((fs::read(key(&new)).unwrap(), mode(&key(&new))), (vec![7; 32], 0o600));
    let before = Path::new(&new).join("authority-key.before");
    assert_eq!((fs::read(&before).unwrap(), mode(&before)), (vec![8; 32], 0o600));
    let settings = fs::read_to_string(Path::new(&new).join("soloist.toml.restored")).unwrap();
    assert!(settings.contains("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "{settings}");
    assert!(!settings.contains("geheim"), "{settings}");
}

#[test]
fn secrets_travel_under_a_passphrase_only() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (old, new, file, config) = (path("old"), path("new"), path("backup"), path("soloist.toml"));
    fs::write(&config, CONFIG).unwrap();
    mined(Path::new(&old)).stop();
    let sealed = ["backup", &file, "--data", &old, "--config", &config, "--passphrase-file", "-"];
    assert_eq!(said(&sealed, "short\n").0, Some(64));
    assert!(!Path::new(&file).exists());
    let (code, words) = said(&sealed, "correct horse battery\n");
    assert_eq!(code, Some(0), "{words}");
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(11).any(|window| window == b"geheim-4711"));

    let other = path("other.toml");
    fs::write(&other, "# of before\n").unwrap();
    let restore = ["restore", &file, "--data", &new, "--config", &other, "--settings"];
    let sealed = [&restore[..], &["--passphrase-file", "-"]].concat();
    let (code, words) = said(&sealed, "correct horse batter!\n");
    assert_eq!(code, Some(65), "{words}");
    assert!(!Path::new(&new).join("ledger/journal").exists(), "nothing was changed");
    let (code, words) = said(&sealed, "correct horse battery\n");
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(fs::read_to_string(&other).unwrap(), CONFIG);
    assert_eq!(fs::read_to_string(path("other.toml.before")).unwrap(), "# of before\n");
}

/// Settings that come with a backup replace the owner's file as a whole: whoever reads it meanwhile
/// has the old one, and a disk that does not take all of them leaves it as it was.
#[test]
fn restored_settings_are_never_half_there() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (old, file, config) = (path("old"), path("backup"), path("soloist.toml"));
    let long = format!("{CONFIG}{}", "# A long remark of the owner's.\n".repeat(1500));
    fs::write(&config, &long).unwrap();
    mined(Path::new(&old)).stop();
    // Only what is sealed travels with its remarks.
    let phrase = path("phrase");
    fs::write(&phrase, "correct horse battery\n").unwrap();
    let backup = ["backup", &file, "--data", &old, "--config", &config];
    let (code, words) = said(&[&backup[..], &["--passphrase-file", &phrase]].concat(), "");
    assert_eq!(code, Some(0), "{words}");

    let before = format!("{CONFIG}# of before\n");
    let restore = |data: &str, config: &str| {
        let data = path(data);
        let words = ["restore", &file, "--data", &data, "--config", config, "--settings"];
        [&words[..], &["--passphrase-file", &phrase]].concat().join("\n")
    };
    let full = path("full.toml");
    fs::write(&full, &before).unwrap();
    // A few kB are enough for the ledger. With the signal ignored a write beyond them fails, as on a
    // full disk.
    let limited = "ulimit -f 32; trap '' XFSZ; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_soloist")])
        .args(restore("new", &full).lines())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{words}");
    assert!(words.contains("full.toml cannot be written: File too large"), "{words}");
    assert!(fs::read_to_string(&full).unwrap() == before, "it is not as it was");
    assert!(!Path::new(&path("full.toml.new")).exists());

    let roomy = path("roomy.toml");
    fs::write(&roomy, &before).unwrap();
    let mut held = fs::File::open(&roomy).unwrap();
    let args = restore("newer", &roomy);
    let (code, words) = said(&args.lines().collect::<Vec<_>>(), "");
    assert_eq!(code, Some(0), "{words}");
    let mut seen = String::new();
    std::io::Read::read_to_string(&mut held, &mut seen).unwrap();
    assert_eq!(seen, before);
    assert!(fs::read_to_string(&roomy).unwrap() == long);
    assert_eq!(fs::read_to_string(path("roomy.toml.before")).unwrap(), before);
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (data, file) = (path("data"), path("backup"));
    mined(Path::new(&data)).stop();
    let (code, words) = said(&["backup", &file, "--data", &data], "");
    assert_eq!(code, Some(0), "{words}");
    let journal = Path::new(&data).join("ledger/journal");
    let before = fs::read(&journal).unwrap();
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let long = [&whole[..], &vec![0; 2 * MAX_BACKUP]].concat();
    for bad in [&whole[..whole.len() - 1], &flipped, b"PK\x03\x04", b"", &long] {
        fs::write(&file, bad).unwrap();
        let (code, words) = said(&["restore", &file, "--data", &data], "");
        assert_eq!(code, Some(65), "{words}");
        assert!(words.contains("Nothing was changed"), "{words}");
        assert!(fs::read(&journal).unwrap() == before);
    }
    assert_eq!(said(&["restore", &path("nothing"), "--data", &data], "").0, Some(65));
    assert_eq!(said(&["backup", &file, "--data", &path("empty")], "").0, Some(69));
    let (code, words) = said(&["backup", &path("no/such/folder"), "--data", &data], "");
    assert_eq!(code, Some(73), "{words}");
    assert!(Store::open(Path::new(&data)).is_ok());
}

#[test]
fn what_is_exported_is_what_was_mined() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().to_str().unwrap();
    let world = mined(place.path());
    let blocks = said(&["export", "blocks", "--data", data], "");
    assert_eq!(blocks.0, Some(0));
    assert!(blocks.1.lines().nth(1).unwrap().starts_with("900001,"), "{}", blocks.1);
    assert_eq!(said(&["export", "days", "--data", data], "").1.lines().count(), 1 + 2 * 3);
    assert!(said(&["export", "hours", "--data", data], "").1.lines().count() > 2 * 50);
    assert!(said(&["export", "workers", "--data", data], "").1.contains("\ngarage,bitaxe,"));
    let json: serde_json::Value =
        serde_json::from_str(&said(&["export", "json", "--data", data], "").1).unwrap();
    let had = world.ledger.total().totals().ever.accepted;
    let has = json["total"]["ever"]["accepted"].as_u64().unwrap();
    assert!((had - 11..=had).contains(&has), "{has} of {had}");
    assert_eq!(said(&["export", "blocks", "--data", "/nonexistent"], "").0, Some(69));
}

/// The running daemon: the cache is a child's business, copies go to another file system, and an
/// unmounted place is told.
#[test]
fn the_daemon_copies_the_newest_snapshot_to_a_stick() {
    let Ok(stick) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED, not tested on this machine: no second file system");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    mined(&data).stop();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = place.path().join("soloist.toml");
    let write = |more: &str| {
        let text = format!(
            "{CONFIG}\n[stratum]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
             [data]\ndir = \"{}\"\n{more}\n",
            data.display()
        )
        .replace("http://192.168.1.10:8332", "http://127.0.0.1:1");
        fs::write(&config, text).unwrap();
    };
    write("");
    let daemon = Ended::run(&config);
    let had = || status(port).filter(|status| status["storage"]["writable"] == true);
    wait_for("the ledger", had);
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.0.id())).unwrap();
    let names = threads.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let names: Vec<String> = names.collect();
    assert!(!names.iter().any(|name| name.contains("sled")), "{names:?}");

    write(&format!("copy_to = \"{}\"", place.path().display()));
    daemon.reload();
    let alarm = wait_for("the alarm", || {
        let status = status(port)?;
        let alarms = status["alarms"].as_array()?.clone();
        alarms.into_iter().find(|alarm| alarm["id"] == "copy")
    });
    assert!(alarm["text"].as_str().unwrap().contains("nothing is mounted"), "{alarm}");
    assert!(self::page(port).contains("Copy of the ledger</dt><dd><span class=\"bad\">fails"));

    write(&format!("copy_to = \"{}\"", stick.path().display()));
    daemon.reload();
    let status = wait_for("the copy", || {
        status(port).filter(|status| status["storage"]["copy_at"].is_number())
    });
    assert_eq!(status["storage"]["copy_error"], "");
    let page = page(port);
    assert!(page.contains("Copy of the ledger") && page.contains("made, seen"), "{page}");
    assert!(status["alarms"].as_array().unwrap().iter().all(|alarm| alarm["id"] != "copy"));
    let copies: Vec<_> = fs::read_dir(stick.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(copies.len(), 1);
    let bytes = fs::read(copies[0].path()).unwrap();
    assert!(!bytes.windows(11).any(|window| window == b"geheim-4711"));
    let new = place.path().join("new");
    let file = copies[0].path();
    let (code, words) =
        said(&["restore", file.to_str().unwrap(), "--data", new.to_str().unwrap()], "");
    assert_eq!(code, Some(0), "{words}");
    println!("{words}");
    let key = |data: &Path| fs::read(data.join("authority-key")).unwrap();
    assert_eq!((key(&new), mode(&file)), (key(&data), 0o600));
}

/// A data partition of its own, that goes with the test.
struct Partition(tempfile::TempDir);

impl Partition {
    fn mount(size: &str) -> Option<Partition> {
        let place = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(place.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Partition(place))
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// The running daemon on a card that is 92 % full: it warns, drops old history and what lies about,
/// keeps the sums, and goes on.
#[test]
fn the_daemon_drops_the_oldest_history_of_a_full_card() {
    let Some(card) = Partition::mount("128m") else {
        eprintln!("SKIPPED, not tested on this machine: no right to mount");
        return;
    };
    let data = card.0.path().join("data");
    let data_text = data.to_str().unwrap();
    let mut world = mined(&data);
    let miner = world.ledger.worker(world.now(), "garage", "bitaxe");
    for _ in 0..8 * 24 {
        world.mine(miner, 3600, 600);
    }
    world.stop();
    let aside = data.join("ledger/aside");
    fs::create_dir_all(&aside).unwrap();
    fs::write(aside.join("journal-1"), vec![0; 100_000]).unwrap();
    let lines = |what: &str| said(&["export", what, "--data", data_text], "").1;
    let (hours, workers) = (lines("hours").lines().count(), lines("workers"));
    assert_eq!(Store::snapshots(&data).len(), 7);

    // As full as it is to be, by the kernel's own figures.
    let reading = soloist::ledger::disk_health::read(&data).unwrap();
    let used = reading.size - reading.free;
    let filler = vec![0; (reading.size / 100 * 92 - used) as usize];
    fs::write(card.0.path().join("filler"), filler).unwrap();

    let place = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = place.path().join("soloist.toml");
    let text = format!(
        "{CONFIG}\n[stratum]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [data]\ndir = \"{data_text}\"\n"
    );
    fs::write(&config, text.replace("http://192.168.1.10:8332", "http://127.0.0.1:1")).unwrap();
    let _daemon = Ended::run(&config);
    wait_for("less history", || (lines("hours").lines().count() < hours).then_some(()));
    assert!((2..=3).contains(&Store::snapshots(&data).len()) && !aside.exists());
    assert_eq!(lines("workers"), workers, "sums are not history");
    let status = wait_for("the page", || {
        status(port).filter(|status| status["storage"]["writable"] == true)
    });
    let alarms = status["alarms"].to_string();
    assert!(alarms.contains("data card is") && alarms.contains("full"), "{alarms}");
    assert!(page(port).contains("the oldest history is dropped"));
    println!("hours: {hours} lines, then {}", lines("hours").lines().count());
}

/// A daemon that does not outlive its test.
struct Ended(std::process::Child);

impl Ended {
    fn run(config: &Path) -> Ended {
        let daemon = Command::new(env!("CARGO_BIN_EXE_soloist"))
            .args(["run", "--config"])
            .arg(config)
            .stderr(Stdio::null())
            .spawn();
        Ended(daemon.unwrap())
    }

    fn reload(&self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(port: u16) -> Option<serde_json::Value> {
    serde_json::from_str(&get(port, "/api/status")?).ok()
}

fn page(port: u16) -> String {
    get(port, "/").unwrap()
}

fn get(port: u16, path: &str) -> Option<String> {
    use std::io::Read;
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("waited a minute for {what}")
}

/// What a command says may reach nobody: a full disk, or a reader who has gone. It does its work to the
/// end, and its exit code tells.
#[test]
fn who_speaks_to_nobody_goes_on_and_says_so_by_its_exit_code() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (data, file, config) = (path("data"), path("backup"), path("soloist.toml"));
    fs::write(&config, CONFIG).unwrap();
    drop(mined(Path::new(&data)));
    let full = || -> Stdio { fs::File::options().write(true).open("/dev/full").unwrap().into() };
    let gone = || -> Stdio {
        let (_, writer) = std::io::pipe().unwrap();
        writer.into()
    };
    let run = |words: &[&str], out: Stdio, err: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soloist"));
        let command = command.args(words).current_dir(place.path()).env("HOME", place.path());
        command.stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap().code()
    };
    let commands: [&[&str]; 9] = [
        &["version"],
        &["--help"],
        &["bench"],
        &["check", "--board"],
        &["ledger", "check", "--data", &data],
        &["backup", &file, "--data", &data, "--config", &config],
        &["export", "json", "--data", &data],
        &["restore", &file, "--data", &path("new")],
        &["restore", &file, "--data", &path("newer"), "--settings", "--config", &path("other")],
    ];
    for words in commands {
        assert_eq!(run(words, Stdio::null(), Stdio::null()), Some(0), "{words:?}");
    }
    for to in [full, gone] {
        fs::remove_file(&file).ok();
        for (place, words) in commands.iter().enumerate() {
            assert_eq!(run(words, to(), to()), Some(74), "{words:?}");
            // It was done all the same.
            assert!(place != 5 || fs::metadata(&file).is_ok_and(|made| made.len() > 100));
        }
    }
    // A mistake is told by its own code, also where its words are lost.
    for (words, code) in [
        (&["nonsense"][..], 64),
        (&["check", "--config", "/nowhere"], 78),
        (&["restore", "/nowhere", "--data", &data], 65),
        (&["ledger", "check", "--data", "/dev/null"], 2),
    ] {
        let expected = run(words, Stdio::null(), Stdio::null());
        for to in [full, gone] {
            assert_eq!(run(words, to(), to()), expected, "{words:?}");
        }
        assert_eq!(expected, Some(code), "{words:?}");
    }
}
