//! The page: one document, one style sheet, one small script, nothing from elsewhere.
//!
//! The page is whole without JavaScript (it then reloads itself). With it, the parts listed by
//! [`sections`] are replaced as they change, and ages count by themselves. Everything that comes
//! from outside goes through maud's escaping; the policy header forbids inline script besides.

mod age;
mod blocks;
mod board;
mod chart;
mod connect;
mod device;
pub mod help;
mod miner;
mod miners;
mod nodes;
mod outside;
mod overview;
mod pair;
mod share;
mod tv;
mod update;
mod v2;
mod veil;

use std::hash::{DefaultHasher, Hash, Hasher};

use maud::{DOCTYPE, Markup, Render, html};

use super::{AlarmKind, HistoryView, RateView, Snapshot, UpdateView, Verdict, format};

use age::Ages;

/// The style sheet.
pub const STYLE: &str = include_str!("assets/style.css");
/// The style sheet of the pages with forms, beside [`STYLE`].
pub const FORM_STYLE: &str = include_str!("assets/form.css");
const SCRIPT: &str = include_str!("assets/app.js");
/// The script of the pages with forms, beside [`script()`].
pub const FORM_SCRIPT: &str = include_str!("assets/form.js");
/// The style sheet of the view for a wall, beside [`STYLE`].
pub const TV_STYLE: &str = include_str!("assets/tv.css");
/// The style sheet of the manual, beside [`STYLE`].
pub const HELP_STYLE: &str = include_str!("assets/help.css");
/// The icon.
pub const ICON: &str = include_str!("assets/icon.svg");
/// The icon for a phone's home screen, by the length of its sides.
pub const ICONS: [(u16, &[u8]); 2] =
    [(192, include_bytes!("assets/icon-192.png")), (512, include_bytes!("assets/icon-512.png"))];

/// A part of the page that is replaced when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Id of the element whose content this is.
    pub id: String,
    /// The content.
    pub html: String,
    /// Elements in it that are replaced alone as long as the frame stays as it is: a share changes one
    /// row of forty.
    pub rows: Vec<Section>,
    /// What decides whether the whole is sent: the content without the rows' own, or for a chart the
    /// minute; empty where there are no rows.
    pub frame: String,
}

/// The script, without its comments and indentation.
pub fn script() -> String {
    let lines = SCRIPT.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// How much of a long list of miners the page holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Miners {
    /// The first ones, and all that need a look: it is read on a phone, far from the box.
    #[default]
    Few,
    /// All of them, to be sorted and searched.
    All,
}

/// The page.
pub fn page(snapshot: &Snapshot, verdict: &Verdict, miners: Miners) -> String {
    let name = title(snapshot);
    let view = View { miners, ..View::of(snapshot, verdict, Ages::Told) };
    let body = html! {
        @for part in parts(snapshot) {
            @if let Some(heading) = part.heading {
                section class="part" aria-labelledby={ "h-" (part.id) } {
                    div {
                        h2 id={ "h-" (part.id) } { (heading) }
                        @if part.id == "miners" { (miners::tools(&view)) }
                    }
                    div id=(part.id) { ((part.render)(&view)) }
                }
            } @else {
                div id=(part.id) class=(part.class) role=[part.role] { ((part.render)(&view)) }
            }
        }
    };
    let live = match miners {
        Miners::Few => String::new(),
        Miners::All => format!("?{}", miners::ALL),
    };
    unlike_a_miner(&document(snapshot, verdict, name, Kind::Live(live), body))
}

/// By these words on its first page, programs that look for miners in a network tell what a miner is:
/// pyasic, which Home Assistant's integrations use, and asic-rs.
const WORDS_OF_MINERS: [&str; 16] = [
    "AnthillOS",
    "Avalon",
    "AxeOS",
    "Braiins OS",
    "DragonMint",
    "Fluminer",
    "Lucky miner",
    "Luxor Firmware",
    "Miner UI",
    "Miner Web Dashboard",
    "Nerd",
    "Proto OS",
    "VolcMiner",
    "amazeui",
    "cloud-box",
    "用户界面",
];

/// The bytes with which they begin: most of a page is passed over with one look at each byte.
const BEGINNINGS: [bool; 256] = {
    let mut begins = [false; 256];
    let mut word = 0;
    while word < WORDS_OF_MINERS.len() {
        begins[WORDS_OF_MINERS[word].as_bytes()[0] as usize] = true;
        word += 1;
    }
    begins
};

/// The same page with each such word's first letter written as a number, which nobody sees: it names the
/// miners, and is none.
fn unlike_a_miner(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + 256);
    let mut told = 0;
    let begins = |(_, byte): &(usize, u8)| BEGINNINGS[usize::from(*byte)];
    for (at, _) in html.bytes().enumerate().filter(begins) {
        let rest = html.get(at..).unwrap_or_default();
        if WORDS_OF_MINERS.iter().any(|word| rest.starts_with(word)) {
            let letter = rest.chars().next().unwrap_or_default();
            out.push_str(&html[told..at]);
            out.push_str(&format!("&#{};", u32::from(letter)));
            told = at + letter.len_utf8();
        }
    }
    out.push_str(&html[told..]);
    out
}

/// The parts of the page that change, rendered for a browser that counts the ages itself.
pub fn sections(snapshot: &Snapshot, verdict: &Verdict, miners: Miners) -> Vec<Section> {
    let view = View { miners, ..View::of(snapshot, verdict, Ages::Counted) };
    let section = |part: &Part| {
        let html = veil::mark(&(part.render)(&view).0);
        let (rows, frame) = match part.id {
            "miners" => (miners::rows(&view), miners::frame(&view)),
            "rate" => (vec![row("rates", &chart::rates(&view))], minute(snapshot)),
            _ => (Vec::new(), String::new()),
        };
        Section { id: part.id.to_owned(), html, rows, frame }
    };
    parts(snapshot).iter().map(section).collect()
}

/// One miner's own page; `None` when there is no such miner.
pub fn miner(
    snapshot: &Snapshot,
    verdict: &Verdict,
    id: &str,
    history: Option<&HistoryView>,
) -> Option<String> {
    let found = snapshot.miners.iter().find(|miner| miner.id == id)?;
    let view = View::of(snapshot, verdict, Ages::Told);
    let body = miner::page(&view, found, history);
    let live = Kind::Live(format!("?miner={id}"));
    Some(document(snapshot, verdict, &miners::name(found), live, body))
}

/// The parts of a miner's page that change. For a miner that is there no longer: one part that no page has,
/// at which a page loads itself again.
pub fn miner_sections(
    snapshot: &Snapshot,
    verdict: &Verdict,
    id: &str,
    history: Option<&HistoryView>,
) -> Vec<Section> {
    let Some(found) = snapshot.miners.iter().find(|miner| miner.id == id) else {
        return vec![Section { id: "gone".to_owned(), ..Section::default() }];
    };
    let view = View::of(snapshot, verdict, Ages::Counted);
    let parts = miner::parts(&view, found, history).into_iter();
    let section = |part: miner::Part| {
        let mut section = row(part.id, &part.content);
        if part.id == "m-rate" {
            section.rows = vec![row("m-rates", &miner::rates(found))];
            section.frame = minute(snapshot);
        }
        section
    };
    parts.map(section).collect()
}

fn row(id: &str, content: &Markup) -> Section {
    Section { id: id.to_owned(), html: veil::mark(&content.0), ..Section::default() }
}

/// Each share moves the end of a chart a little: it is sent once a minute.
fn minute(snapshot: &Snapshot) -> String {
    (snapshot.now / 60).to_string()
}

/// The page for a screen on the wall.
pub fn tv(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let view = View::of(snapshot, verdict, Ages::Told);
    let body = html! { div #tv { (tv::wall(&view)) } };
    document(snapshot, verdict, title(snapshot), Kind::Tv, body)
}

/// The part of it that changes.
pub fn tv_sections(snapshot: &Snapshot, verdict: &Verdict) -> Vec<Section> {
    let view = View::of(snapshot, verdict, Ages::Counted);
    let html = veil::mark(&tv::wall(&view).0);
    vec![Section { id: "tv".to_owned(), html, ..Section::default() }]
}

/// All blocks.
pub fn blocks(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let view = View::of(snapshot, verdict, Ages::Told);
    document(snapshot, verdict, "Blocks", Kind::Still, blocks::page(&view))
}

/// New versions.
pub fn update(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let view = View::of(snapshot, verdict, Ages::Told);
    document(snapshot, verdict, "New versions", Kind::Still, update::page(&view))
}

/// What is done about a new version, for a page with a form.
pub(crate) fn update_state(view: &UpdateView) -> Markup {
    update::state(view)
}

/// Two boxes as one.
pub fn pair(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let view = View::of(snapshot, verdict, Ages::Told);
    let kind = match snapshot.pair {
        Some(_) => Kind::Live("?pair=1".to_owned()),
        None => Kind::Still,
    };
    document(snapshot, verdict, "Two boxes", kind, pair::page(&view))
}

/// The parts of that page that change. Where there is no other box any more: one part that no page has, at
/// which a page loads itself again.
pub fn pair_sections(snapshot: &Snapshot, verdict: &Verdict) -> Vec<Section> {
    let view = View::of(snapshot, verdict, Ages::Counted);
    let Some(pair) = &snapshot.pair else {
        return vec![Section { id: "gone".to_owned(), ..Section::default() }];
    };
    pair::parts(&view, pair).iter().map(|part| row(part.id, &part.content)).collect()
}

/// How a miner is connected by Stratum V2.
pub fn v2(snapshot: &Snapshot, verdict: &Verdict) -> String {
    document(snapshot, verdict, "Stratum V2", Kind::Still, v2::page(snapshot))
}

/// A chapter of the manual, or its index, whose name is empty; `None` when there is no such chapter.
pub fn help(snapshot: &Snapshot, verdict: &Verdict, name: &str) -> Option<String> {
    let chapter = help::CHAPTERS.iter().find(|chapter| chapter.name == name)?;
    Some(document(snapshot, verdict, chapter.title, Kind::Text, help::page(chapter)))
}

/// The QR code of all that a miner of Stratum V2 needs; `None` where none can be told.
pub fn v2_qr(snapshot: &Snapshot) -> Option<String> {
    connect::svg(snapshot.connect.v2.as_ref()?.url.as_ref()?)
}

/// What a phone needs to keep the page among its programs.
pub fn manifest(snapshot: &Snapshot) -> String {
    let png = ICONS.map(|(size, _)| {
        let sizes = format!("{size}x{size}");
        serde_json::json!({ "src": format!("/icon-{size}.png"), "sizes": sizes, "type": "image/png" })
    });
    let svg = serde_json::json!({ "src": "/icon.svg", "sizes": "any", "type": "image/svg+xml" });
    serde_json::json!({
        "name": title(snapshot),
        "short_name": title(snapshot),
        "start_url": "/",
        "display": "standalone",
        "background_color": "#141413",
        "theme_color": "#141413",
        "icons": png.into_iter().chain([svg]).collect::<Vec<_>>(),
    })
    .to_string()
}

/// A page with a form.
pub(crate) fn form_document(
    snapshot: &Snapshot,
    verdict: &Verdict,
    title: &str,
    body: Markup,
) -> String {
    document(snapshot, verdict, title, Kind::Form, html! { div.form { (body) } })
}

/// A date, for a page with a form.
pub(crate) fn date(at: u64) -> Markup {
    age::date(at)
}

/// Leads to what explains an alarm, for a page with a form.
pub(crate) fn meaning(kind: AlarmKind) -> Markup {
    overview::meaning(kind)
}

/// A temperature, for a page with a form.
pub(crate) fn celsius(value: f64) -> String {
    device::celsius(value)
}

/// A power, for a page with a form.
pub(crate) fn watts(value: f64) -> String {
    device::watts(value)
}

/// A pool or a user of one, which may break where its port or its miner's name begins.
pub(crate) fn breaking(text: &str) -> Markup {
    let text = format::tame_to(text, 120);
    let at = text.rfind(':').or_else(|| text.rfind('.')).unwrap_or(text.len());
    let (before, after) = text.split_at(at);
    html! { (before) wbr; (after) }
}

/// The QR code of a text, to stand in a page: an image of its own could be asked for by anybody.
pub(crate) fn qr_of(text: &str, words: &str) -> Option<String> {
    let svg = connect::svg(text)?;
    let named = format!("<svg width=\"180\" height=\"180\" role=\"img\" aria-label=\"{words}\" ");
    Some(svg.replacen("<svg ", &named, 1))
}

/// The QR code of this page's numeric address; `None` as long as no address is known.
pub fn qr(snapshot: &Snapshot) -> Option<String> {
    connect::qr(snapshot)
}

/// What every part is rendered from.
struct View<'a> {
    s: &'a Snapshot,
    verdict: &'a Verdict,
    ages: Ages,
    miners: Miners,
}

impl<'a> View<'a> {
    fn of(s: &'a Snapshot, verdict: &'a Verdict, ages: Ages) -> View<'a> {
        View { s, verdict, ages, miners: Miners::default() }
    }

    /// `12 s ago`.
    fn ago(&self, at: u64) -> Markup {
        age::ago(self.ages, self.s.now, at)
    }

    /// `12 s`.
    fn age(&self, at: u64) -> Markup {
        age::age(self.ages, self.s.now, at)
    }
}

/// One part of the page.
#[derive(Clone, Copy)]
struct Part {
    id: &'static str,
    /// Heading in the margin; parts without one stand at the top.
    heading: Option<&'static str>,
    class: &'static str,
    role: Option<&'static str>,
    render: fn(&View<'_>) -> Markup,
}

/// The parts of the page. A box that is not set up shows no empty lists.
fn parts(snapshot: &Snapshot) -> Vec<Part> {
    let mut parts = all_parts().to_vec();
    parts.retain(|part| part.id != "pair" || snapshot.pair.is_some());
    if !snapshot.configured {
        parts.retain(|part| match part.id {
            "say" | "state" | "connect" | "box" => true,
            // Who has entered the box as a pool before it is set up is told that it waits.
            "miners" => !snapshot.knocking.is_empty(),
            _ => false,
        });
    }
    parts
}

fn all_parts() -> [Part; 14] {
    let top = |id, class, role, render| Part { id, heading: None, class, role, render };
    let part =
        |id, heading, render| Part { id, heading: Some(heading), class: "", role: None, render };
    [
        top("say", "sr", Some("status"), overview::say),
        top("found", "", None, blocks::banner),
        top("state", "", None, overview::state),
        top("path", "", None, overview::path),
        part("pay", "If we hit now", overview::pay),
        part("miners", "Miners", miners::list),
        part("rate", "Hashrate", chart::hashrate),
        part("odds", "Odds", share::odds),
        part("nodes", "Nodes", nodes::list),
        part("pair", "Two boxes", pair::overview),
        part("blocks", "Blocks", blocks::list),
        part("connect", "Connect", connect::panel),
        part("box", "This box", board::board),
        part("events", "Lately", board::events),
    ]
}

/// How a page keeps up with what happens.
#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// By the live channel, whose query tells what is shown, or by reloading where there is no script.
    Live(String),
    /// By the reader.
    Still,
    /// By the live channel, and nobody touches it: always dark, without head and foot.
    Tv,
    /// Not at all: it must not take away what is being typed.
    Form,
    /// Not at all: it is a text that somebody reads.
    Text,
}

fn document(
    snapshot: &Snapshot,
    verdict: &Verdict,
    title: &str,
    kind: Kind,
    body: Markup,
) -> String {
    let live = match &kind {
        Kind::Live(query) => Some(query.as_str()),
        Kind::Tv => Some("?tv=1"),
        Kind::Still | Kind::Form | Kind::Text => None,
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=[(kind == Kind::Tv).then_some("dark")] {
            head {
                meta charset="utf-8";
                title { (verdict.state.word()) ": " (title) }
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href={ "/icon.svg?v=" (version(ICON)) };
                link rel="stylesheet" href={ "/style.css?v=" (version(STYLE)) };
                link rel="apple-touch-icon" href="/icon-192.png";
                @if kind == Kind::Tv {
                    link rel="stylesheet" href={ "/tv.css?v=" (version(TV_STYLE)) };
                }
                @if kind == Kind::Form {
                    link rel="stylesheet" href={ "/form.css?v=" (version(FORM_STYLE)) };
                }
                @if kind == Kind::Text {
                    link rel="stylesheet" href={ "/help.css?v=" (version(HELP_STYLE)) };
                }
                // Not deferred: it chooses the colours before anything is drawn.
                script src={ "/app.js?v=" (version(SCRIPT)) } {}
                @if kind == Kind::Form {
                    script src={ "/form.js?v=" (version(FORM_SCRIPT)) } defer {}
                }
                @if !matches!(kind, Kind::Form | Kind::Text) { noscript { meta http-equiv="refresh" content="15"; } }
            }
            body class=[(kind == Kind::Tv).then_some("tv")] data-now=(snapshot.now) data-live=[live] {
                a .skip href="#main" { "To the content" }
                header {
                    a .brand href="/" { (mark()) (self::title(snapshot)) }
                    @if !snapshot.chain.is_empty() && snapshot.chain != "main" {
                        span .chain { (snapshot.chain) }
                    }
                    button #blur type="button" hidden aria-pressed="false" { "Hide address" }
                    span #link .link role="status" {}
                }
                main #main { (body) }
                footer {
                    p {
                        "Soloist " (snapshot.build.version)
                        @if !snapshot.build.commit.is_empty() { " (" (snapshot.build.commit) ")" }
                        @if let Some(image) = &snapshot.build.image { ", image " (image) }
                        @if let Some(at) = snapshot.build.built_at { ", built " (age::date(at)) }
                        ". Running for " (age::age(Ages::Told, snapshot.now, snapshot.started_at)) "."
                    }
                    p {
                        button #theme type="button" hidden {} " "
                        a href="/help" { "Help" } " "
                        a href="/settings" { "Settings" } " "
                        a href="/tv" { "Screen on the wall" } " "
                        a href="/api/status" { "Status as JSON" } " "
                        a href="/metrics" { "Metrics" } " "
                        a href="/health/detailed" { "Health" }
                    }
                }
            }
        }
    };
    veil::mark(&page.0)
}

fn title(snapshot: &Snapshot) -> &str {
    if snapshot.name.is_empty() { "Soloist" } else { &snapshot.name }
}

/// One fact: its name, its value, and more about it in small letters.
fn fact(name: &str, value: impl Render, more: impl Render) -> Markup {
    let more = more.render();
    html! { div { dt { (name) } dd { (value) @if !more.0.is_empty() { small { (more) } } } } }
}

/// A proven hashrate with its confidence.
fn rate(rate: &RateView) -> Markup {
    html! {
        @match rate.relative_error() {
            None => span.quiet { "no share yet" },
            Some(error) if error > 0.5 => { "≈ " (format::hashrate(rate.hashrate)) },
            Some(error) => {
                (format::hashrate(rate.hashrate)) " "
                i { "±" (format::percent(error)) }
            },
        }
    }
}

/// The mark: one voice above the staff.
fn mark() -> Markup {
    html! {
        svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" {
            path d="M1 8.5h18M1 13h18M1 17.5h18" {}
            circle cx="10" cy="4" r="3" {}
        }
    }
}

/// An address in blocks of four, as one word for copying and for screen readers.
pub(crate) fn fours(address: &str) -> Markup {
    html! {
        span .addr { @for block in format::in_fours(address) { span { (block) } } }
    }
}

/// A version for the address of an asset: changes with its content.
fn version(content: &str) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_a_miner_is_left_and_readers_see_the_same() {
        for word in WORDS_OF_MINERS {
            let html = format!("<p title=\"{word}\">{word}, γ{word}{word} A</p>");
            let page = unlike_a_miner(&html);
            assert!(!page.contains(word), "{page}");
            let first = word.chars().next().unwrap();
            assert_eq!(page.replace(&format!("&#{};", u32::from(first)), &first.to_string()), html);
        }
        assert_eq!(unlike_a_miner("<p>Axe</p>"), "<p>Axe</p>");
    }
}
