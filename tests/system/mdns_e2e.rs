//! The search by mDNS, asked of a real responder: avahi, in a network of its own. Without root or without
//! avahi-daemon the test says that it checked nothing.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};
use soloist::lan::find::{Network, announced};

use crate::common::network::in_a_network_of_its_own;
use crate::common::wait_for;

/// What ESP-Miner 2.15 announces (`components/connect/connect.c`), as avahi writes it.
const BITAXE: &str = "<service-group><name>Bitaxe Gamma 601 (BBCC)</name><service>\
                      <type>_http._tcp</type><subtype>_axeos._sub._http._tcp</subtype><port>80</port>\
                      <txt-record>board=601</txt-record><txt-record>family=Gamma</txt-record>\
                      <txt-record>asic=BM1370</txt-record><txt-record>fw_version=v2.15.0</txt-record>\
                      </service></service-group>";
/// Another page in the house.
const PRINTER: &str = "<service-group><name>Printer</name><service><type>_http._tcp</type>\
                       <subtype>_printer._sub._http._tcp</subtype><port>80</port></service></service-group>";

/// Behind one end of a pair of interfaces for each of its networks: a machine with a responder.
struct Machine {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Machine {
    /// In the networks 10.N.0.0/24, where it is 10.N.0.2 and we are 10.N.0.1.
    fn start(service: &str, networks: &[u8]) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("services")).unwrap();
        fs::write(
            dir.path().join("avahi-daemon.conf"),
            "[server]\nuse-ipv4=yes\nuse-ipv6=no\nenable-dbus=no\n[publish]\npublish-workstation=no\n",
        )
        .unwrap();
        let head = "<?xml version=\"1.0\" standalone='no'?>\
                    <!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">";
        fs::write(dir.path().join("services/own.service"), format!("{head}{service}")).unwrap();
        // Its own /run: the machine that tests may have a responder of its own.
        let mut script = String::from("set -e\necho ready\nread -r _\nip link set lo up\n");
        for n in networks {
            script += &format!("ip addr add 10.{n}.0.2/24 dev far{n}\nip link set far{n} up\n");
        }
        script += "mount -t tmpfs tmpfs /run\nmount --bind \"$0\" /etc/avahi\n\
                   exec avahi-daemon --no-drop-root --no-rlimits --no-chroot\n";
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", &script])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let (mut setup, pid) = (String::new(), child.id());
        for n in networks {
            setup += &format!(
                "link add near{n} type veth peer name far{n}\nlink set far{n} netns {pid}\n\
                 addr add 10.{n}.0.1/24 dev near{n}\nlink set near{n} up\n"
            );
        }
        let mut ip =
            Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        ip.stdin.take().unwrap().write_all(setup.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success());
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Machine { child, _dir: dir }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether somebody in this network answers for `_http._tcp`, whatever it is.
fn has_a_page(own: Ipv4Addr) -> bool {
    let mut packet = Packet::new_query(0);
    packet.questions.push(Question::new(
        Name::new_unchecked("_http._tcp.local"),
        QTYPE::TYPE(TYPE::PTR),
        QCLASS::CLASS(CLASS::IN),
        true,
    ));
    let socket = UdpSocket::bind((own, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(&packet.build_bytes_vec().unwrap(), "224.0.0.251:5353").unwrap();
    let mut answer = [0; 9000];
    let Ok((length, _)) = socket.recv_from(&mut answer) else { return false };
    !Packet::parse(&answer[..length]).unwrap().answers.is_empty()
}

#[test]
fn a_real_responder_is_found_in_each_network_and_a_printer_is_not() {
    let name = "mdns_e2e::a_real_responder_is_found_in_each_network_and_a_printer_is_not";
    let what = "the search by mDNS";
    if Command::new("avahi-daemon").arg("--version").output().is_err() {
        return println!("*** NOT TESTED *** {what}: Debian's avahi-daemon is not installed");
    }
    in_a_network_of_its_own(name, what, || {
        let _bitaxe = Machine::start(BITAXE, &[77, 78]);
        let _printer = Machine::start(PRINTER, &[79]);
        let own = |n: u8| Ipv4Addr::new(10, n, 0, 1);
        for n in [77, 78, 79] {
            wait_for("the responder", || has_a_page(own(n)).then_some(()));
        }
        let networks = [77, 78, 79].map(|n| Network { own: own(n), prefix: 24 });
        let began = Instant::now();
        let found = smol::block_on(announced(&networks));
        println!("found after {:?}: {found:?}", began.elapsed());
        assert_eq!(found, [77, 78].map(|n| IpAddr::from([10, n, 0, 2])));
        // From a network in which it is not, nobody finds it.
        assert!(smol::block_on(announced(&networks[2..])).is_empty());
    });
}
