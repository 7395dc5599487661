//! Writes settings from the page into the file: only differences change, and the owner's comments
//! stay. Pure.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, TableLike, Value};

use super::declare::PageValue;
use super::sections::SECTIONS;
use crate::settings::{
    MqttChange, MqttValues, NodeValues, PairChange, SectionChange, SinkChange, SinkValues, TOPICS,
    Values,
};

/// The file with `new` instead of `old`; `old` is what the file says, both with their passwords.
///
/// # Errors
/// A sentence, if the file is not one that can be edited.
pub fn rewrite(text: &str, old: &Values, new: &Values) -> Result<String, String> {
    let mut doc = parse(text)?;
    for (place, name, value) in page_settings() {
        if value(old) != value(new) {
            set(section(&mut doc, place)?, name, value(new));
        }
    }
    if old.nodes != new.nodes {
        nodes(&mut doc, &old.nodes, &new.nodes)?;
    }
    Ok(doc.to_string())
}

/// What the page changes, but for the nodes: section, name, and where it is among the page's values.
pub fn page_settings() -> Vec<(&'static str, &'static str, PageValue)> {
    let all = SECTIONS.iter().flat_map(|section| {
        (section.facts)().into_iter().map(|facts| (section.name, facts.name, facts.page))
    });
    all.filter_map(|(section, name, page)| Some((section, name, page?))).collect()
}

/// The file with another PIN, or what is kept of one.
///
/// # Errors
/// As for [`rewrite`].
pub fn rewrite_pin(text: &str, pin: &str) -> Result<String, String> {
    let mut doc = parse(text)?;
    set(section(&mut doc, "http")?, "pin", pin);
    Ok(doc.to_string())
}

/// The file after a change of a section that has a form of its own. What does not differ keeps its comments.
///
/// # Errors
/// As for [`rewrite`], and if the file has no such place for notifications.
pub fn rewrite_section(text: &str, change: &SectionChange) -> Result<String, String> {
    let mut doc = parse(text)?;
    match change {
        SectionChange::Sink(change) => sink(&mut doc, change)?,
        SectionChange::Mqtt(change) => mqtt(section(&mut doc, "mqtt")?, change),
        SectionChange::Pair(change) => pair(section(&mut doc, "pair")?, change),
    }
    Ok(doc.to_string())
}

fn mqtt(table: &mut dyn TableLike, MqttChange { before, after }: &MqttChange) {
    let password = |values: &MqttValues| values.password.clone().unwrap_or_default();
    let (old, new) = (password(before), password(after));
    let texts = before.texts().into_iter().zip(after.texts());
    let texts = texts.map(|((name, old), (_, new))| (name, old, new));
    for (name, old, new) in texts.chain([("password", old.as_str(), new.as_str())]) {
        match new {
            same if same == old => {}
            // Its place and its comment stay.
            "" if name != "broker" => drop(table.remove(name)),
            new => set(table, name, new),
        }
    }
    if before.tls != after.tls {
        set(table, "tls", after.tls);
    }
    if before.buttons != after.buttons {
        set(table, "buttons", after.buttons.iter().collect::<Array>());
    }
}

fn pair(table: &mut dyn TableLike, PairChange { before, after }: &PairChange) {
    let secrets = [before, after].map(|values| values.secret.as_deref().unwrap_or_default());
    for (name, old, new) in [
        ("partner", before.partner.as_str(), after.partner.as_str()),
        ("virtual_address", &before.virtual_address, &after.virtual_address),
        ("secret", secrets[0], secrets[1]),
    ] {
        match new {
            same if same == old => {}
            "" => drop(table.remove(name)),
            new => set(table, name, new),
        }
    }
}

/// A place that stays keeps the comments of what does not differ.
fn sink(doc: &mut DocumentMut, change: &SinkChange) -> Result<(), String> {
    const NAME: &str = "notify";
    let strange = || "'notify' is not a list of sections in the file.".to_owned();
    let mut sinks = match doc.remove(NAME) {
        None => ArrayOfTables::new(),
        Some(sinks) => sinks.into_array_of_tables().map_err(|_| strange())?,
    };
    let place = change.place;
    match (&change.before, &change.after) {
        (None, None) => {}
        (None, Some(new)) => {
            let mut table = Table::new();
            write_sink(&mut table, new);
            // Sections are written by their positions first.
            table.set_position(sinks.get(place).and_then(Table::position));
            let mut all: Vec<Table> = sinks.into_iter().collect();
            all.insert(place.min(all.len()), table);
            sinks = all.into_iter().collect();
        }
        (Some(_), new) => {
            let table = sinks.get_mut(place).ok_or("There is no such place in the file.")?;
            match new {
                Some(new) => write_sink(table, new),
                None => drop(sinks.remove(place)),
            }
        }
    }
    if !sinks.is_empty() {
        doc.insert(NAME, Item::ArrayOfTables(sinks));
    }
    Ok(())
}

fn write_sink(table: &mut Table, new: &SinkValues) {
    let is_of_it = |name: &str| {
        new.service().is_some_and(|service| service.fields.iter().any(|f| f.name == name))
    };
    let others: Vec<String> = table
        .iter()
        .map(|(key, _)| key.to_owned())
        .filter(|key| {
            key != "kind" && !is_of_it(key) && !TOPICS.iter().any(|(name, _)| name == key)
        })
        .collect();
    others.iter().for_each(|key| drop(table.remove(key)));
    let fields = new.service().map_or(&[][..], |service| service.fields);
    let written = fields.iter().map(|field| (field.name, new.get(field.name)));
    for (key, value) in std::iter::once(("kind", new.kind.as_str())).chain(written) {
        let before = table.get(key).and_then(Item::as_value);
        // The number of a chat may stand there without quotation marks.
        let same = before.is_some_and(|before| match before {
            Value::String(before) => before.value() == value,
            Value::Integer(before) => before.value().to_string() == value,
            _ => false,
        });
        match value {
            _ if same => {}
            "" => drop(table.remove(key)),
            value => set(table, key, value),
        }
    }
    for (topic, _) in TOPICS {
        let told = !new.silent.contains(&topic);
        if !told || table.contains_key(topic) {
            set(table, topic, told);
        }
    }
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    // The parser's own words could quote a password.
    text.parse().map_err(|_| "The file is not TOML any more: look at it with an editor.".to_owned())
}

fn section<'a>(doc: &'a mut DocumentMut, name: &str) -> Result<&'a mut dyn TableLike, String> {
    doc.entry(name)
        .or_insert(Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or_else(|| format!("'{name}' is not a section in the file."))
}

/// Sets a value where it stands, with the comment behind it; a new one goes to the section's end.
fn set(table: &mut dyn TableLike, key: &str, new: impl Into<Value>) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = new.into();
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(key, toml_edit::value(new));
        }
    }
}

/// Writes the nodes in their new order. A node that stays keeps its section, with its name.
fn nodes(doc: &mut DocumentMut, old: &[NodeValues], new: &[NodeValues]) -> Result<(), String> {
    let mut sections = sections(doc)?;
    // Before the set-up there may be one with empty quotation marks; it keeps its comments.
    let is_gap =
        |table: &Table| table.get("rpc_url").and_then(Item::as_str).unwrap_or_default().is_empty();
    let mut blank = None;
    if old.is_empty() && sections.iter().all(is_gap) {
        blank = sections.drain(..).next();
    }
    if sections.len() != old.len() {
        return Err("The file's nodes are not those in force: reload it first.".to_owned());
    }
    let place = blank.as_ref().or(sections.first()).and_then(Table::position);
    let headings: Vec<_> =
        blank.iter().chain(&sections).map(|table| table.decor().clone()).collect();
    // The others may live on the login of the first.
    let first_changes = old.first() != new.first();
    let mut left: Vec<Option<Table>> = sections.drain(..).map(Some).collect();
    let mut written = Vec::new();
    for (at, node) in new.iter().enumerate() {
        let same = old.iter().position(|known| known.url == node.url);
        let mut table =
            same.and_then(|same| left[same].take()).or(blank.take()).unwrap_or_default();
        let before = same.map(|same| &old[same]);
        if before.is_none() {
            set(&mut table, "rpc_url", &node.url);
        }
        let login = |node: &NodeValues| (node.user.clone(), node.password.clone());
        if before.map(login) != Some(login(node)) || first_changes {
            write_login(&mut table, node);
        }
        let none = NodeValues::default();
        let was = before.unwrap_or(&none);
        for (key, was, now) in [
            ("rpc_cert_path", &was.certificate, &node.certificate),
            ("zmq_hashblock_addr", &was.zmq, &node.zmq),
            ("p2p_addr", &was.p2p, &node.p2p),
        ] {
            match now.as_str() {
                same if same == was => {}
                "" => drop(table.remove(key)),
                now => set(&mut table, key, now),
            }
        }
        if let Some(heading) = headings.get(at) {
            *table.decor_mut() = heading.clone();
        }
        table.set_position(place);
        written.push(table);
    }
    let mut written = written.into_iter();
    let Some(mut first) = written.next() else {
        return Err("At least one node is needed.".to_owned());
    };
    let backups: ArrayOfTables = written.collect();
    if !backups.is_empty() {
        first.insert("backup", Item::ArrayOfTables(backups));
    }
    doc.insert("node", Item::Table(first));
    Ok(())
}

/// Takes the nodes' sections out of the file, in their order.
fn sections(doc: &mut DocumentMut) -> Result<Vec<Table>, String> {
    let strange = || "'node' is not a section in the file.".to_owned();
    let Some(node) = doc.remove("node") else { return Ok(Vec::new()) };
    let mut first = node.into_table().map_err(|_| strange())?;
    let backups = match first.remove("backup") {
        None => ArrayOfTables::new(),
        Some(backups) => backups.into_array_of_tables().map_err(|_| strange())?,
    };
    Ok(std::iter::once(first).chain(backups).collect())
}

fn write_login(table: &mut Table, node: &NodeValues) {
    if node.user.is_empty() {
        table.remove("rpc_user");
        table.remove("rpc_pass");
        return;
    }
    // Also takes out a login that stands in the address.
    set(table, "rpc_url", &node.url);
    table.remove("rpc_cookie_path");
    set(table, "rpc_user", &node.user);
    match &node.password {
        Some(password) => set(table, "rpc_pass", password),
        None => drop(table.remove("rpc_pass")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PairValues;

    const FILE: &str = r#"# My box
[payout]
# Mine.
address = "a" # the ledger in the drawer
#tag = "Soloist"

# ---- Nodes
[node]
name = "attic"
rpc_url = "http://u:secret@a:8332" # upstairs

# The spare one.
[[node.backup]]
rpc_url = "http://b:8332"
rpc_cookie_path = "/b/.cookie"

[log]
level = "info"
"#;

    fn node(url: &str, user: &str, password: Option<&str>, zmq: &str) -> NodeValues {
        NodeValues {
            url: url.to_owned(),
            user: user.to_owned(),
            password: password.map(str::to_owned),
            zmq: zmq.to_owned(),
            ..NodeValues::default()
        }
    }

    fn values() -> Values {
        Values {
            name: "Soloist".to_owned(),
            payout: "a".to_owned(),
            tag: "Soloist".to_owned(),
            nodes: vec![
                node("http://a:8332", "u", Some("secret"), ""),
                node("http://b:8332", "", None, ""),
            ],
        }
    }

    #[test]
    fn only_what_differs_changes() {
        assert_eq!(rewrite(FILE, &values(), &values()).unwrap(), FILE);
        let new = Values {
            name: "cellar".to_owned(),
            payout: "b".to_owned(),
            tag: "it's \"me\"".to_owned(),
            ..values()
        };
        let text = rewrite(FILE, &values(), &new).unwrap();
        assert!(text.contains("address = \"b\" # the ledger in the drawer\n"), "{text}");
        let read: toml::Value = toml::from_str(&text).unwrap();
        assert_eq!(read["payout"]["tag"].as_str(), Some("it's \"me\""));
        assert_eq!(read["http"]["name"].as_str(), Some("cellar"));
        let kept = FILE.lines().filter(|line| !line.starts_with("address"));
        kept.for_each(|line| assert!(text.contains(line), "{line} in\n{text}"));
        let pin = rewrite_pin(&rewrite_pin(&text, "7391").unwrap(), "8264x").unwrap();
        assert_eq!(
            toml::from_str::<toml::Value>(&pin).unwrap()["http"]["pin"].as_str(),
            Some("8264x")
        );
    }

    #[test]
    fn nodes_change_places_and_come_and_go() {
        let [a, b] = <[NodeValues; 2]>::try_from(values().nodes).unwrap();
        let c = node("http://c:8332", "v", Some("other"), "tcp://c:28332");
        let new = Values { nodes: vec![b, c, a], ..values() };
        let text = rewrite(FILE, &values(), &new).unwrap();
        let read: toml::Value = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let first = &read["node"];
        assert_eq!(first["rpc_url"].as_str(), Some("http://b:8332"));
        assert_eq!(first["rpc_cookie_path"].as_str(), Some("/b/.cookie"));
        let (second, third) = (&first["backup"][0], &first["backup"][1]);
        assert_eq!(second["zmq_hashblock_addr"].as_str(), Some("tcp://c:28332"));
        assert_eq!(second["rpc_pass"].as_str(), Some("other"));
        assert_eq!(
            (third["name"].as_str(), third["rpc_user"].as_str()),
            (Some("attic"), Some("u"))
        );
        assert_eq!(third["rpc_url"].as_str(), Some("http://a:8332"), "its login stands below it");
        for kept in ["# My box", "# ---- Nodes", "# The spare one.", "level = \"info\""] {
            assert!(text.contains(kept), "{kept} in\n{text}");
        }
        // And all the way back.
        let back = rewrite(&text, &new, &values()).unwrap();
        let read: toml::Value = toml::from_str(&back).unwrap();
        assert_eq!(read["node"]["name"].as_str(), Some("attic"));
        assert_eq!(read["node"]["backup"].as_array().map(Vec::len), Some(1));
        let none = Values { nodes: Vec::new(), ..values() };
        assert!(rewrite(FILE, &values(), &none).is_err());
    }

    #[test]
    fn a_p2p_address_comes_changes_and_goes_with_its_node() {
        let with = |p2p: &str| {
            let mut values = values();
            values.nodes[1].p2p = p2p.to_owned();
            values
        };
        let second = |text: &str| -> Option<String> {
            let read: toml::Value = toml::from_str(text).unwrap();
            read["node"]["backup"][0].get("p2p_addr")?.as_str().map(str::to_owned)
        };
        let one = rewrite(FILE, &values(), &with("off")).unwrap();
        assert_eq!(second(&one).as_deref(), Some("off"));
        let two = rewrite(&one, &with("off"), &with("b:18444")).unwrap();
        assert_eq!(second(&two).as_deref(), Some("b:18444"));
        assert_eq!(second(&rewrite(&two, &with("b:18444"), &values()).unwrap()), None);
    }

    #[test]
    fn a_certificate_comes_changes_and_goes_with_its_node() {
        let with = |path: &str| {
            let mut values = values();
            values.nodes[1].certificate = path.to_owned();
            values
        };
        let second = |text: &str| -> Option<String> {
            let read: toml::Value = toml::from_str(text).unwrap();
            let path = read["node"]["backup"][0].get("rpc_cert_path")?;
            path.as_str().map(str::to_owned)
        };
        let one = rewrite(FILE, &values(), &with("/b/proxy.pem")).unwrap();
        assert_eq!(second(&one).as_deref(), Some("/b/proxy.pem"));
        let two = rewrite(&one, &with("/b/proxy.pem"), &with("/b/other.pem")).unwrap();
        assert_eq!(second(&two).as_deref(), Some("/b/other.pem"));
        assert_eq!(second(&rewrite(&two, &with("/b/other.pem"), &values()).unwrap()), None);
    }

    #[test]
    fn the_first_node_of_all_takes_the_empty_section() {
        let text = "[payout]\naddress = \"\"\n\n# Upstairs.\n[node]\n# Where.\nrpc_url = \"\" # here\n\n[log]\n";
        let none = Values { payout: String::new(), nodes: Vec::new(), ..values() };
        for text in [text, "", "[node]\n"] {
            let written = rewrite(text, &none, &values()).unwrap();
            let read: toml::Value = toml::from_str(&written).unwrap();
            assert_eq!(read["node"]["rpc_url"].as_str(), Some("http://a:8332"), "{written}");
            assert_eq!(read["node"]["rpc_pass"].as_str(), Some("secret"), "{written}");
            assert_eq!(read["node"]["backup"].as_array().map(Vec::len), Some(1), "{written}");
            assert_eq!(read["payout"]["address"].as_str(), Some("a"), "{written}");
        }
        let written = rewrite(text, &none, &values()).unwrap();
        for kept in ["# Upstairs.", "# Where.", "# here"] {
            assert!(written.contains(kept), "{kept} in\n{written}");
        }
        // And a node joins a single one.
        let one = "[node]\nrpc_url = \"http://b:8332\"\n";
        let old = Values { nodes: values().nodes.split_off(1), ..values() };
        let written = rewrite(one, &old, &values()).unwrap();
        let read: toml::Value = toml::from_str(&written).unwrap();
        assert_eq!(read["node"]["backup"][0]["rpc_url"].as_str(), Some("http://b:8332"));
    }

    #[test]
    fn a_place_for_notifications_comes_changes_and_goes_and_the_others_stay() {
        let sink = SinkValues::of;
        let read = |text: &str| -> Vec<toml::Value> {
            let read: toml::Value = toml::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            read.get("notify").and_then(|list| list.as_array().cloned()).unwrap_or_default()
        };
        let known = || Some(SinkValues::default());
        let write =
            |text: &str, change: SinkChange| rewrite_section(text, &SectionChange::Sink(change));
        let add = |text: &str, place, new: &SinkValues| {
            write(text, SinkChange { place, before: None, after: Some(new.clone()) })
        };
        let change = |text: &str, place, new: &SinkValues| {
            write(text, SinkChange { place, before: known(), after: Some(new.clone()) })
        };
        let remove =
            |text: &str, place| write(text, SinkChange { place, before: known(), after: None });
        let hook = sink("webhook", &[("url", "http://h/a")]);
        let one = add(FILE, 0, &hook).unwrap();
        assert!(one.starts_with(FILE), "{one}");
        let mut bot = sink("telegram", &[("token", "1:a"), ("chat", "4711")]);
        bot.silent = vec!["best"];
        let two = add(&one, 7, &bot).unwrap();
        let all = read(&two);
        assert_eq!(all[0]["url"].as_str(), Some("http://h/a"));
        assert_eq!(
            (all[1]["chat"].as_str(), all[1]["best"].as_bool()),
            (Some("4711"), Some(false))
        );
        assert!(all[1].get("block").is_none(), "what is the default is not written: {two}");

        // A file of the owner's own, with comments; only what differs is written.
        let own = format!(
            "{FILE}\n# My phone.\n[[notify]]\nkind = \"telegram\" # the family's bot\ntoken = \"1:a\"\n\
             chat = 4711 # Anna\nbest = true # yes\n\n# Work.\n[[notify]]\nkind = \"slack\"\nurl = \"https://s\"\n"
        );
        let changed = change(&own, 0, &bot).unwrap();
        assert_eq!(changed, own.replace("best = true", "best = false"));
        let mail =
            sink("email", &[("url", "smtp://m"), ("from", "a@b"), ("to", "c@d"), ("user", "")]);
        let other = change(&own, 0, &mail).unwrap();
        let all = read(&other);
        assert!(all[0].get("token").is_none() && all[0].get("chat").is_none(), "{other}");
        assert!(all[0].get("user").is_none(), "{other}");
        assert!(other.contains("# the family's bot") && other.contains("# Work."), "{other}");
        let gone = remove(&own, 0).unwrap();
        assert_eq!(read(&gone).len(), 1, "{gone}");
        assert!(gone.contains("# Work.") && !gone.contains("4711"), "{gone}");
        let none = remove(&gone, 0).unwrap();
        assert!(read(&none).is_empty() && none.starts_with(FILE), "{none}");
        assert!(remove(&own, 2).is_err());
        // One that comes back stands where it stood, and the others behind it.
        let in_front = format!("{}\n{FILE}", own.strip_prefix(FILE).unwrap());
        for (file, place) in [0, 1, 2].into_iter().flat_map(|n| [(&own, n), (&in_front, n)]) {
            let back = add(file, place, &hook).unwrap();
            let kinds: Vec<_> = read(&back).iter().map(|sink| sink["kind"].to_string()).collect();
            assert_eq!(kinds.len(), 3);
            assert_eq!(kinds[place], "\"webhook\"", "{back}");
            assert!(back.contains("# My phone.") && back.contains("# Work."), "{back}");
        }
        // In one line, as TOML allows it.
        let inline = "notify = [{ kind = \"slack\", url = \"https://s\" }]\n";
        assert_eq!(read(&add(inline, 7, &hook).unwrap()).len(), 2);
        assert!(add("notify = 7\n", 0, &hook).is_err());
    }

    #[test]
    fn the_other_box_comes_changes_and_goes_and_what_stays_keeps_its_comments() {
        let values = |partner: &str, address: &str, secret: Option<&str>| PairValues {
            partner: partner.to_owned(),
            virtual_address: address.to_owned(),
            secret: secret.map(str::to_owned),
        };
        let write = |text: &str, before: &PairValues, after: &PairValues| {
            let (before, after) = (before.clone(), after.clone());
            let change = SectionChange::Pair(Box::new(PairChange { before, after }));
            rewrite_section(text, &change).unwrap()
        };
        let none = PairValues::default();
        let one = values("192.168.1.21", "192.168.1.240/24", Some("AAAAA-BBBBB"));
        let text = write(FILE, &none, &one);
        assert!(text.starts_with(FILE), "{text}");
        let read: toml::Value = toml::from_str(&text).unwrap();
        let told = ["partner", "virtual_address", "secret"].map(|name| read["pair"][name].as_str());
        assert_eq!(told, [Some("192.168.1.21"), Some("192.168.1.240/24"), Some("AAAAA-BBBBB")]);

        let own = "[pair] # Upstairs.\npartner = \"192.168.1.21\" # the attic\n\
                   virtual_address = \"192.168.1.240/24\" # theirs\nsecret = \"AAAAA-BBBBB\"\n\
                   listen = \"0.0.0.0:4000\" # mine\n";
        assert_eq!(write(own, &one, &one), own);
        let other = values("192.168.1.22", "192.168.1.240/24", Some("CCCCC-DDDDD"));
        let text = write(own, &one, &other);
        for kept in ["# Upstairs.", "\"192.168.1.22\" # the attic", "# theirs", "# mine"] {
            assert!(text.contains(kept), "{kept} in\n{text}");
        }
        assert!(text.contains("CCCCC-DDDDD") && !text.contains("AAAAA"), "{text}");
        // Forgotten: the code goes as well.
        let text = write(own, &one, &values("", "192.168.1.240/24", None));
        assert!(!text.contains("partner") && !text.contains("secret"), "{text}");
        assert!(text.contains("# theirs") && text.contains("# mine"), "{text}");
    }

    #[test]
    fn the_mqtt_broker_comes_changes_and_goes_and_what_stays_keeps_its_comments() {
        let values =
            |broker: &str, password: Option<&str>, tls: bool, buttons: &[&str]| MqttValues {
                broker: broker.to_owned(),
                user: "anna".to_owned(),
                password: password.map(str::to_owned),
                tls,
                buttons: buttons.iter().map(|name| (*name).to_owned()).collect(),
                ..MqttValues::default()
            };
        let write = |text: &str, before: &MqttValues, after: &MqttValues| {
            let (before, after) = (before.clone(), after.clone());
            let text =
                rewrite_section(text, &SectionChange::Mqtt(Box::new(MqttChange { before, after })));
            let text = text.unwrap();
            let read: toml::Value = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            (text, read["mqtt"].clone())
        };
        let (none, one) =
            (MqttValues::default(), values("ha:1884", Some("it's"), true, &["blink"]));
        let (text, mqtt) = write(FILE, &none, &one);
        assert!(text.starts_with(FILE), "{text}");
        assert_eq!(mqtt["broker"].as_str(), Some("ha:1884"));
        assert_eq!(mqtt["password"].as_str(), Some("it's"));
        assert_eq!(mqtt["tls"].as_bool(), Some(true));
        assert_eq!(mqtt["buttons"], toml::Value::from(vec!["blink"]));
        assert!(mqtt.get("topic_prefix").is_none(), "what is the default is not written: {text}");

        let own = "[mqtt] # Home.\nbroker = \"ha:1884\" # the Pi\nuser = \"anna\"\npassword = \"it's\"\n\
                   tls = true # as it should\nbuttons = [\"blink\"]\n";
        assert_eq!(write(own, &one, &one).0, own);
        let (text, mqtt) = write(own, &one, &values("hb", None, false, &["pause", "resume"]));
        assert!(mqtt.get("password").is_none() && !text.contains("it's"), "{text}");
        assert_eq!(mqtt["buttons"], toml::Value::from(vec!["pause", "resume"]));
        for kept in ["# Home.", "broker = \"hb\" # the Pi", "tls = false # as it should"] {
            assert!(text.contains(kept), "{kept} in\n{text}");
        }
        // Nobody is told any more, and then again.
        let gone = MqttValues { broker: String::new(), ..none.clone() };
        let (text, mqtt) = write(own, &one, &gone);
        assert_eq!(mqtt["broker"].as_str(), Some(""), "{text}");
        assert!(text.contains("# the Pi") && mqtt.get("user").is_none(), "{text}");
        let (text, _) = write(&text, &gone, &one);
        assert!(text.contains("broker = \"ha:1884\" # the Pi"), "{text}");
    }

    #[test]
    fn what_cannot_be_edited_is_refused_without_a_secret() {
        let new = Values { name: "x".to_owned(), ..values() };
        for text in ["pass = \"secret", "http = 7\nx = \"secret\""] {
            let problem = rewrite(text, &values(), &new).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
