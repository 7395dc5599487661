//! Renders the owner's manual to HTML: the chapters that `docs/README.md` links to, in its order, and that
//! index itself. So the program holds the text ready to be served, and no parser of Markdown.
//!
//! What a link leads to is written so that it works in the repository. On the box chapters are at `/help/NAME`,
//! a path of the page in code (`/settings`) becomes a link, and a link to any other file is only its text.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

const INDEX: &str = "README";

/// How paths of the page begin. `tests/page/page_manual.rs` tries each that the chapters name.
const PAGES: [&str; 7] = ["api", "blocks", "health", "metrics", "settings", "tv", "v2"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let index = read(INDEX);
    let mut names = vec![INDEX.to_owned()];
    for event in parse(&index) {
        if let Event::Start(Tag::Link { dest_url, .. }) = event
            && let Some(name) = beside(&dest_url)
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    let chapters: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut out = String::from("&[\n");
    for name in &names {
        let text = read(name);
        let (title, html) = render(&text, &chapters);
        let name = if name == INDEX { "" } else { name };
        writeln!(out, "Chapter {{ name: {name:?}, title: {title:?}, html: {html:?} }},")
            .expect("a String takes everything");
    }
    out.push_str("]\n");
    let to = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&to).join("manual.rs"), out).expect("cargo's directory can be written");
}

fn read(name: &str) -> String {
    let path = format!("docs/{name}.md");
    println!("cargo::rerun-if-changed={path}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// The name of a chapter that a link leads to: a file in the same directory.
fn beside(url: &str) -> Option<&str> {
    let (file, _) = url.split_once('#').unwrap_or((url, ""));
    file.strip_suffix(".md").filter(|name| !name.contains(['/', ':', '.']))
}

/// A chapter's title and its HTML.
fn render(text: &str, chapters: &BTreeSet<&str>) -> (String, String) {
    let events: Vec<Event<'_>> = parse(text).collect();
    let mut title = String::new();
    let mut out = Vec::with_capacity(events.len());
    // Whether each link that is open is shown as one.
    let mut links = Vec::new();
    let mut slugs: BTreeMap<String, u32> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let (words, anchor) = heading(&events[at + 1..]);
                if title.is_empty() {
                    title.clone_from(&words);
                }
                let mut id = anchor.unwrap_or_else(|| slug(&words));
                let before = slugs.entry(id.clone()).or_default();
                if *before > 0 {
                    id = format!("{id}-{before}");
                }
                *before += 1;
                let id = Some(CowStr::from(id));
                let (classes, attrs) = (Vec::new(), Vec::new());
                out.push(Event::Start(Tag::Heading { level: *level, id, classes, attrs }));
            }
            // An anchor: its heading carries it.
            Event::InlineHtml(tag) if anchor(tag).is_some() || **tag == *"</a>" => {}
            Event::Html(tag) | Event::InlineHtml(tag) => panic!("no HTML in the manual: {tag}"),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let to = target(dest_url, chapters);
                links.push(to.is_some());
                if let Some(to) = to {
                    let (title, id) = (title.clone(), id.clone());
                    out.push(Event::Start(Tag::Link {
                        link_type: *link_type,
                        dest_url: to.into(),
                        title,
                        id,
                    }));
                }
            }
            Event::End(TagEnd::Link) => {
                if links.pop() == Some(true) {
                    out.push(Event::End(TagEnd::Link));
                }
            }
            Event::Code(code) if links.is_empty() && is_page(code) => {
                out.push(Event::Html(format!("<a href=\"{code}\">").into()));
                out.push(Event::Code(code.clone()));
                out.push(Event::Html("</a>".into()));
            }
            other => out.push(other.clone()),
        }
    }
    let mut html = String::new();
    html::push_html(&mut html, out.into_iter());
    (title, html)
}

/// The words of a heading that has just begun, and the anchor that is written in it.
fn heading(events: &[Event<'_>]) -> (String, Option<String>) {
    let (mut words, mut anchored) = (String::new(), None);
    for event in events {
        match event {
            Event::End(TagEnd::Heading(_)) => break,
            Event::Text(text) | Event::Code(text) => words.push_str(text),
            Event::InlineHtml(tag) => anchored = anchored.or_else(|| anchor(tag)),
            _ => {}
        }
    }
    (words, anchored)
}

/// `x` of `<a id="x">`.
fn anchor(tag: &str) -> Option<String> {
    let id = tag.strip_prefix("<a id=\"")?.strip_suffix("\">")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    id.chars().all(plain).then(|| id.to_owned())
}

/// The anchor that hosts of repositories give a heading; a second one of the same words gets a number.
fn slug(words: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let words: String = words.chars().filter(kept).collect();
    words.to_lowercase().replace(' ', "-")
}

/// Where a link leads on the box; `None` for what is not there.
fn target(url: &str, chapters: &BTreeSet<&str>) -> Option<String> {
    if url.starts_with("https://") || url.starts_with('#') {
        return Some(url.to_owned());
    }
    let name = beside(url).filter(|name| chapters.contains(name))?;
    let anchor = url.find('#').map_or("", |at| &url[at..]);
    Some(match name {
        INDEX => format!("/help{anchor}"),
        name => format!("/help/{name}{anchor}"),
    })
}

fn is_page(code: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/#-.".contains(c);
    code.strip_prefix('/').is_some_and(|rest| {
        let first = rest.split(['/', '#']).next().unwrap_or_default();
        PAGES.contains(&first) && rest.chars().all(plain) && !rest.ends_with('/')
    })
}
