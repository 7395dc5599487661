//! Forms with a file (RFC 7578): pure, over a body that is already bounded.

/// The most fields of a form.
const FIELDS_MAX: usize = 8;

/// The fields of a body of this `Content-Type`: name and bytes. `None` for what is no such form, or
/// is cut off.
pub(super) fn fields<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<(String, &'a [u8])>> {
    let rest = content_type.strip_prefix("multipart/form-data")?;
    let boundary = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    // RFC 2046: 1 to 70 characters.
    if !(1..=70).contains(&boundary.len()) {
        return None;
    }
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..])?;
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let (head, after) = split(rest, b"\r\n\r\n")?;
        let (bytes, after) = split(after, delimiter.as_bytes())?;
        if fields.len() == FIELDS_MAX {
            return None;
        }
        fields.push((name(head)?, bytes));
        rest = after;
    }
}

/// The `name` of a part's Content-Disposition.
fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.lines().find(|line| {
        line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case("content-disposition"))
    })?;
    let (_, rest) = line.split_once("; name=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(by.len()).position(|window| window == by)?;
    Some((&bytes[..at], &bytes[at + by.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=xYz";

    #[test]
    fn a_browsers_form_is_read() {
        let body = b"--xYz\r\nContent-Disposition: form-data; name=\"backup\"; filename=\"a; name=\\\"b\"\r\n\
            Content-Type: application/octet-stream\r\n\r\nSOLO\r\n--xY\0\r\n--xYz\r\n\
            content-disposition: form-data; name=\"passphrase\"\r\n\r\n\r\n--xYz--\r\n";
        let fields = fields(KIND, body).unwrap();
        assert_eq!(fields[0], ("backup".to_owned(), b"SOLO\r\n--xY\0".as_slice()));
        assert_eq!(fields[1], ("passphrase".to_owned(), b"".as_slice()));
    }

    #[test]
    fn what_is_cut_or_strange_is_none() {
        let body = b"--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--xYz--\r\n";
        assert!(fields(KIND, body).is_some());
        for end in 0..body.len() - 4 {
            assert_eq!(fields(KIND, &body[..end]), None, "{end}");
        }
        assert_eq!(fields("multipart/form-data", body), None);
        assert_eq!(fields("multipart/form-data; boundary=", body), None);
        assert_eq!(fields("text/plain; boundary=xYz", body), None);
        let many = b"--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n".repeat(9);
        assert_eq!(fields(KIND, &[many.as_slice(), b"--xYz--"].concat()), None);
    }
}
