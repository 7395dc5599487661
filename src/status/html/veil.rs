//! Bitcoin addresses in the text of a page are marked wherever they stand, so that a reader can hide all
//! of them: in an alarm, an event, a miner's name. Addresses in blocks of four have a class of their own.

/// The HTML with each address in its text as an element of the class `own`. Tags stay as they are, and so
/// does text in which no element may stand.
pub(super) fn mark(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + 256);
    let mut rest = html;
    while let Some((text, tag)) = rest.split_once('<') {
        mark_text(text, &mut out);
        // Attributes hold no ">": it is escaped there.
        let end = tag.find('>').map_or(tag.len(), |at| at + 1);
        let end = match ["title", "option", "textarea"].iter().find(|name| is_of(tag, name)) {
            Some(name) => tag.find(&format!("</{name}")).unwrap_or(end),
            None => end,
        };
        out.push('<');
        out.push_str(&tag[..end]);
        rest = &tag[end..];
    }
    mark_text(rest, &mut out);
    out
}

fn is_of(tag: &str, name: &str) -> bool {
    tag.strip_prefix(name).is_some_and(|rest| rest.starts_with(['>', ' ']))
}

fn mark_text(text: &str, out: &mut String) {
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word);
        if is_address(word) {
            out.push_str("<span class=\"own\">");
            out.push_str(word);
            out.push_str("</span>");
        } else {
            out.push_str(word);
        }
        let gap = after.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let (gap, after) = after.split_at(gap);
        out.push_str(gap);
        rest = after;
    }
}

/// Looks like one; whether its checksum is right does not matter for hiding it.
fn is_address(word: &str) -> bool {
    if !(26..=90).contains(&word.len()) {
        return false;
    }
    let lower = word.to_ascii_lowercase();
    let segwit = ["bc1", "tb1", "bcrt1", "rb1"].iter().any(|start| lower.starts_with(start));
    let base58 = word.len() <= 35
        && word.starts_with(['1', '2', '3', 'm', 'n'])
        && !word.contains(['0', 'O', 'I', 'l']);
    segwit || base58
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn each_address_in_the_text_is_marked_and_nothing_else() {
        for address in [
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        ] {
            let html = format!("<b title=\"{address}\">γ to {address}.gamma, {address}</b>");
            let own = format!("<span class=\"own\">{address}</span>");
            let marked = format!("<b title=\"{address}\">γ to {own}.gamma, {own}</b>");
            assert_eq!(mark(&html), marked);
            // Where no element may stand.
            for tag in ["title", "option value=\"1\""] {
                let name = tag.split(' ').next().unwrap();
                let html = format!("<{tag}>{address}</{name}><p>x</p>");
                assert_eq!(mark(&html), html);
            }
        }
        let hash = "00000000000000000001a2b4c6d8e0f1a3b5c7d9e1f3a5b7c9d1e3f5a7b9c1d3";
        for other in [hash, "<p>1 of 3 &amp; more</p>", "<", "a<b", "", "<title>x"] {
            assert_eq!(mark(other), other);
        }
    }
}
