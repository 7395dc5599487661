//! The program as its user meets it: words, streams and exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

fn soloist(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(arguments)
        .current_dir(dir.path())
        .env_remove("JOURNAL_STREAM")
        // Nothing that a Soloist of whoever tests has left behind.
        .env_remove("XDG_STATE_HOME")
        .env("HOME", dir.path())
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_and_version_go_to_stdout() {
    for arguments in
        [&["--help"][..], &["help"], &["run", "--help"], &["check", "-h"], &["version", "--help"]]
    {
        let output = soloist(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains("Usage: soloist"), "{arguments:?}");
        assert!(output.stderr.is_empty());
    }
    let version = format!("soloist {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["version"][..], &["--version"], &["-V"]] {
        assert_eq!(text(&soloist(arguments).stdout), version);
    }
}

#[test]
fn the_board_is_told_by_its_device_tree() {
    let dir = tempfile::tempdir().expect("a directory");
    let told = |compatible: &str, model: &str| {
        std::fs::write(dir.path().join("compatible"), compatible).expect("written");
        std::fs::write(dir.path().join("model"), model).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_soloist"))
            .args(["check", "--board"])
            .env("SOLOIST_DEVICE_TREE", dir.path())
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout)
    };
    let known =
        told("raspberrypi,model-zero-2-w\0brcm,bcm2837\0", "Raspberry Pi Zero 2 W Rev 1.0\0");
    assert!(known.contains("Raspberry Pi Zero 2 W (4 × Cortex-A53, 1000 MHz)"), "{known}");
    let stranger = told("friendlyarm,nanopi-r2s\0", "FriendlyElec NanoPi R2S\0");
    assert!(stranger.contains("NanoPi R2S: none that Soloist knows"), "{stranger}");
    assert_eq!(soloist(&["run", "--board"]).status.code(), Some(64));
}

#[test]
fn the_owners_file_is_taken_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("image");
    let part = |name: &str| std::fs::read_to_string(image.join(name)).expect("it is there");
    // As image/build puts them together.
    let settings = part("soloist.toml");
    let from = settings.find("# ---- Who is paid").expect("the head ends there");
    let template = part("wifi.toml") + &settings[from..];
    std::fs::write(path("template"), &template).expect("written");
    let filled = template
        .replacen("address = \"\"", &format!("address = \"{ADDRESS}\""), 1)
        .replacen("rpc_url = \"\"", "rpc_url = \"http://u:geheim@10.0.0.1\"", 1)
        .replacen("ssid = \"\"", "ssid = \"attic\"", 1)
        .replacen("password = \"\"", "password = \"geheim-geheim\"", 1);
    std::fs::write(path("soloist.toml"), filled).expect("written");
    let (from, template_path, into) = (path("soloist.toml"), path("template"), path("config"));
    let arguments = ["import", "--from", &from, "--template", &template_path, "--into", &into];
    let output = soloist(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(std::fs::read_to_string(&from).expect("there"), template);
    let taken = std::fs::read_to_string(path("config/soloist.toml")).expect("there");
    assert!(taken.contains(ADDRESS) && !taken.contains("ssid"), "{taken}");
    assert_eq!(soloist(&arguments[..5]).status.code(), Some(64));
}

#[test]
fn wrong_usage_is_64() {
    for arguments in [&["mine"][..], &["run", "--frob"], &["check", "--node"], &["run", "x"]] {
        let output = soloist(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert_eq!(text(&output.stderr).lines().count(), 1);
    }
}

#[test]
fn a_wrong_config_is_78() {
    for command in ["run", "check"] {
        let output = soloist(&[command, "--config", "absent.toml"]);
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output.stderr).contains("absent.toml: the file cannot be read"));

        let output = soloist(&[command, "--node", "http://a:geheim@10.0.0.1", "--payout", "bc1q"]);
        assert_eq!(output.status.code(), Some(78));
        let said = text(&output.stderr);
        assert!(said.contains("--payout: its checksum does not match"), "{said}");
        assert!(!said.contains("geheim"), "{said}");
    }
    // No flags, and no file in the working directory: `run` would lead to the set-up.
    if !Path::new("/etc/soloist/soloist.toml").exists() {
        let output = soloist(&["check", "--data", "data"]);
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output.stderr).contains("no node is named"));
    }
    // Without a page there is no set-up.
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("soloist.toml");
    std::fs::write(&file, "[http]\nlisten = []\n").expect("written");
    let output = soloist(&["run", "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("no node is named"));
}

#[test]
fn without_any_config_the_page_leads_to_the_set_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_soloist"))
        .args(["run", "--data", "data", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .current_dir(dir.path())
        .env_remove("JOURNAL_STREAM")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let said = lines.by_ref().map_while(Result::ok).find(|line| line.contains("Not set up yet"));
    let _ = child.kill();
    let _ = child.wait();
    assert!(said.is_some());
}

#[test]
fn the_ledger_of_a_new_box_is_sound() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().to_str().expect("UTF-8");
    let output = soloist(&["ledger", "check", "--repair", "--data", data]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = soloist(&["ledger", "check", "--data", data]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("bytes of journal"));
    // Where it is comes from the config if it is not told.
    assert_eq!(soloist(&["ledger", "check", "--config", "absent"]).status.code(), Some(78));
}

#[test]
fn a_dead_node_is_69() {
    // Bound and dropped: nothing listens there.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://a:geheim@{}", listener.local_addr().expect("bound"));
    drop(listener);
    let output = soloist(&["check", "--node", &url, "--p2p", "off", "--payout", ADDRESS]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("It cannot be used now: "), "{said}");
    assert!(
        said.contains("No block could be mined now: no node gives work that can be used."),
        "{said}"
    );
    assert!(!(said + &text(&output.stderr)).contains("geheim"));
}

/// A node of regtest and an address of the main chain do not fit, however well the node is.
#[test]
fn an_address_of_another_chain_is_78() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://a:b@{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || answer_as_regtest(stream));
        }
    });
    let output = soloist(&["check", "--node", &url, "--p2p", "off", "--payout", ADDRESS]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("is an address of the main chain, but the node is on"), "{said}");
    assert!(said.contains("begins with bcrt1, m, n or 2"), "{said}");
}

/// As much of a node as the question needs: what each method answers, and an error for the rest.
fn answer_as_regtest(mut stream: std::net::TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let genesis = soloist::chain::Chain::Regtest.genesis();
    let asked = text(&body);
    let result = if asked.contains("getblockchaininfo") {
        format!(
            r#"{{"chain":"regtest","blocks":0,"headers":0,"bestblockhash":"{genesis}",
                "chainwork":"{:064x}","initialblockdownload":false,"verificationprogress":1,
                "time":1296688602,"warnings":""}}"#,
            2
        )
    } else if asked.contains("getnetworkinfo") {
        r#"{"connections":0,"subversion":"/Satoshi:30.0.0/","warnings":[]}"#.to_owned()
    } else if asked.contains("getblockhash") {
        format!("\"{genesis}\"")
    } else {
        "null".to_owned()
    };
    let answer = format!(r#"{{"result":{result},"error":null,"id":0}}"#);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    // The client may be gone already.
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{answer}", answer.len());
}
