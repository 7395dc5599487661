//! A SOCKS5 proxy of the tests' own: one that works, and those that do not.

use std::net::Shutdown;

use super::*;

const ONION: &str = "expyuzz4wqqyqhjn5xltcoj4vabtcldj5i5uoxphvqepuhqz5aphwfyd.onion";
const GREETING: [u8; 4] = [5, 2, 0, 2];

/// A proxy that works and wants a login. It leads to `target` whatever it is asked for. The login, the
/// address in the request (its kind and its bytes) and the port.
async fn relay(
    executor: &LocalExecutor<'_>,
    proxy: &Async<TcpListener>,
    target: &PeerAddress,
) -> (Vec<u8>, Vec<u8>, u16) {
    let client = within(PATIENCE, proxy.accept()).await.expect("it connects").unwrap().0;
    assert_eq!(read(&client, 4).await, GREETING);
    write(&client, &[5, 2]).await;
    let login = read(&client, 1 + 17 + 17).await;
    assert_eq!((login[0], login[1], login[18]), (1, 16, 16));
    write(&client, &[1, 0]).await;
    assert_eq!(read(&client, 3).await, [5, 1, 0]);
    let kind = read(&client, 1).await[0];
    let length = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(read(&client, 1).await[0]),
    };
    let address = [vec![kind], read(&client, length).await].concat();
    let port = read(&client, 2).await;
    let port = u16::from_be_bytes([port[0], port[1]]);
    let PeerHost::Ip(ip) = target.host else { panic!("{target}") };
    let server = Async::<TcpStream>::connect((ip, target.port)).await.unwrap();
    // Where it connects from, as a name: that may be so as well.
    write(&client, &[&[5, 0, 0, 3, 9][..], b"proxy.lan", &[1, 2]].concat()).await;
    let (client, server) = (Rc::new(client), Rc::new(server));
    for (from, to) in [(client.clone(), server.clone()), (server, client)] {
        let pass = async move {
            let mut bytes = [0; 1000];
            while let Ok(read @ 1..) = pin!(&*from).read(&mut bytes).await {
                write(&to, &bytes[..read]).await;
            }
            to.get_ref().shutdown(Shutdown::Both).ok();
        };
        executor.spawn(pass).detach();
    }
    (login, address, port)
}

#[test]
fn a_proxy_is_given_names_and_addresses_and_each_time_another_login() {
    let executor = LocalExecutor::new();
    let [proxy, node] =
        [(); 2].map(|()| Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let mut logins = Vec::new();
    let play = async {
        for (host, kind, bytes) in [
            ("node.invalid", 3, &b"node.invalid"[..]),
            (ONION, 3, ONION.as_bytes()),
            ("77.1.2.3", 1, &[77, 1, 2, 3]),
            ("::ffff:77.1.2.3", 1, &[77, 1, 2, 3]),
            ("2a01::9", 4, &[0x2a, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ] {
            let (noted, (sender, _events)) = (Noted::default(), async_channel::unbounded());
            let road = Road::new(
                PeerAddress { host: PeerHost::read(host), port: 8333 },
                Some(&place(&proxy)),
            );
            let peer = PeerHandle::with(&executor, road, noted.clone(), sender, PATIENCE);
            let (login, address, port) = relay(&executor, &proxy, &place(&node)).await;
            assert_eq!((&address[..], port), (&[&[kind], bytes].concat()[..], 8333));
            assert!(
                peer.place().ends_with(":8333") && peer.place().contains("77.1.2.3") || kind != 1
            );
            // What the proxy said is not the node's.
            let accepted = within(PATIENCE, node.accept()).await.expect("it is led there");
            let accepted = accepted.unwrap().0;
            write(&accepted, b"hallo").await;
            assert_eq!(read(&accepted, 5).await, b"HALLO");
            noted.wait_for("hallo").await;
            assert_eq!(noted.inputs(), ["start", "connected", "hallo"]);
            // A second connection of the same peer.
            write(&accepted, b"r").await;
            logins.extend([login, relay(&executor, &proxy, &place(&node)).await.0]);
            drop(within(PATIENCE, node.accept()).await.expect("it is led there again"));
        }
    };
    smol::block_on(executor.run(play));
    let all = logins.len();
    logins.sort();
    logins.dedup();
    assert_eq!((all, logins.len()), (10, 10));
}

/// What comes of a proxy that answers each of our messages with the next of these bytes, and hangs up
/// then if it is to.
fn outcome(target: &str, answers: &[&[u8]], hangs_up: bool) -> Result<Vec<u8>, Down> {
    let proxy = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = PeerAddress { host: PeerHost::read(target), port: 8333 };
    let road = Rc::new(Road::new(target, Some(&place(&proxy))));
    let serve = async {
        let client = proxy.accept().await.unwrap().0;
        for answer in answers {
            pin!(&client).read(&mut [0; 400]).await.unwrap();
            write(&client, answer).await;
        }
        match hangs_up {
            true => drop(client),
            false => pending().await,
        }
        pending().await
    };
    let opened = async {
        let socket = open(road).await?;
        let mut rest = vec![0; 100];
        let length = within(PATIENCE, pin!(&socket.stream).read(&mut rest)).await;
        rest.truncate(length.expect("the rest comes").unwrap_or(0));
        Ok(rest)
    };
    let result = smol::block_on(future::or(opened, serve));
    // The place is another one in each run.
    result.map_err(|down| match down {
        Down::Proxy { place: at, why } => {
            assert_eq!(at, place(&proxy).to_string());
            Down::Proxy { place: String::new(), why }
        }
        down => down,
    })
}

fn unfit(why: &str) -> Down {
    Down::Proxy { place: String::new(), why: why.to_owned() }
}

#[test]
fn each_reply_of_a_proxy_has_its_meaning() {
    let unreachable = |why: &str| Down::Unreachable(why.to_owned());
    for (code, down) in [
        (1, unreachable("the proxy says no more than that")),
        (2, unreachable("the proxy does not allow it")),
        (3, unreachable("no network leads there")),
        (4, unreachable("the proxy does not find its host")),
        (5, Down::Refused),
        (6, unreachable("it does not answer the proxy")),
        (7, unfit("it does not connect to anything")),
        (8, unreachable("the proxy knows no such addresses")),
        // One of Tor's own, and one that does not exist.
        (0xf2, unreachable("the proxy gives a reason that nobody knows")),
        (9, unreachable("the proxy gives a reason that nobody knows")),
    ] {
        let reply = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(outcome(ONION, &[&[5, 0], &reply], false), Err(down), "{code}");
        // Many hang up after it.
        assert!(outcome(ONION, &[&[5, 0], &reply], true).is_err(), "{code}");
    }
}

#[test]
fn what_follows_the_reply_is_the_nodes() {
    let v4 = [&[5, 0, 0, 1][..], &[9; 6], b"version"].concat();
    let v6 = [&[5, 0, 0, 4][..], &[9; 18], b"version"].concat();
    let name = [&[5, 0, 0, 3, 255][..], &[b'a'; 257], b"version"].concat();
    let no_name = [&[5, 0, 0, 3, 0, 1, 1][..], b"version"].concat();
    for reply in [v4, v6, name, no_name] {
        assert_eq!(outcome("77.1.2.3", &[&[5, 0], &reply], false), Ok(b"version".to_vec()));
    }
}

#[test]
fn a_proxy_that_is_none_is_named() {
    let (none, password) = ("it speaks no SOCKS5", "it wants a password of its own");
    let reply = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for (answers, why) in [
        (&[&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]][..], none),
        (&[&[0xff; 100_000]], none),
        (&[&[4, 0]], none),
        (&[&[0, 91, 0, 0, 0, 0, 0, 0]], none),
        (&[&[5, 0xff]], password),
        (&[&[5, 2], &[1, 1]], password),
        (&[&[5, 2], &[5, 0]], none),
        (&[&[5, 0], &[4, 0, 0, 1]], none),
        (&[&[5, 0], &[5, 0, 0, 2, 0, 0]], none),
    ] {
        assert_eq!(outcome("node.invalid", answers, false), Err(unfit(why)), "{answers:?}");
    }
    // A method that was not offered.
    assert!(outcome("node.invalid", &[&[5, 1]], false).is_err());
    // Cut anywhere.
    let whole: [&[u8]; 3] = [&[5, 2], &[1, 0], &reply];
    for step in 0..3 {
        for end in 0..whole[step].len() {
            let mut answers = whole[..step].to_vec();
            answers.push(&whole[step][..end]);
            let cut = outcome("node.invalid", &answers, true);
            assert_eq!(cut, Err(unfit("it hangs up")), "{step} {end}");
        }
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_or_is_silent_is_named() {
    let by = |host: &str, port| {
        let proxy = PeerAddress { host: PeerHost::read(host), port };
        let target = PeerAddress { host: PeerHost::read(ONION), port: 8333 };
        let opened = smol::block_on(open(Rc::new(Road::new(target, Some(&proxy)))));
        opened.map(|_| ()).unwrap_err().to_string()
    };
    let free = free_port();
    let refuses = format!("the proxy at 127.0.0.1:{free} is of no use: it refuses connections");
    assert_eq!(by("127.0.0.1", free), refuses);
    let unknown = by("soloist.invalid", 9050);
    let start = "the proxy at soloist.invalid:9050 is of no use: it cannot be reached: its name ";
    assert!(unknown.starts_with(start), "{unknown}");
    // It takes the connection, and then nothing comes.
    let since = Instant::now();
    let silent = outcome("node.invalid", &[], false);
    assert_eq!(silent, Err(unfit("it does not answer")));
    assert!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());
}

#[test]
fn the_machine_ends_what_a_proxy_began() {
    let executor = LocalExecutor::new();
    let proxy = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (sender, events) = async_channel::unbounded();
    let target = PeerAddress { host: PeerHost::read(ONION), port: 8333 };
    // It waits only 5 s, as it does without a proxy.
    let peer = Peer::new(os::now(), Chain::Regtest, 1);
    let road = Road::new(target, Some(&place(&proxy)));
    let _peer = PeerHandle::with(&executor, road, peer, sender, PATIENCE);
    let play = async {
        let client = proxy.accept().await.unwrap().0;
        write(&client, &[5, 0, 5]).await;
        let event = within(PATIENCE, events.recv()).await.unwrap();
        assert_eq!(event, Ok(Event::Down(Down::Silent)));
        read(&client, 4 + 5).await;
        read(&client, ONION.len() + 2).await;
        ends(&client).await;
    };
    smol::block_on(executor.run(play));
}

#[test]
fn a_name_that_does_not_fit_into_a_request_is_refused() {
    let long = outcome(&"a".repeat(256), &[&[5, 0]], false);
    assert_eq!(long, Err(Down::Unreachable("its name is too long".to_owned())));
    let fits = outcome(&"a".repeat(255), &[&[5, 0], &[5, 5, 0, 1]], false);
    assert_eq!(fits, Err(Down::Refused));
}
