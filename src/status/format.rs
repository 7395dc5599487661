//! Numbers, times and amounts in the words of the page.

pub use crate::clock::{date, iso};
use crate::devices::is_visible;

/// The non-breaking, narrow space between a number and its unit and between thousands.
const THIN: char = '\u{202f}';

/// `12.4 TH/s`; three significant digits.
pub fn hashrate(hashes_per_second: f64) -> String {
    scaled(hashes_per_second, &["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s"])
}

/// `131 T`, `4.29 G`, `1000`, `0.0015`; three significant digits.
pub fn difficulty(value: f64) -> String {
    if value > 0.0 && value < 1.0 {
        // "0.0015" and "0.00015": two significant digits are what a small miner's setting has.
        let digits = (-value.log10().floor()).clamp(1.0, 9.0) as usize + 1;
        return format!("{value:.digits$}").trim_end_matches('0').to_owned();
    }
    // A small one with what tells it from another: "1.1" is a better share than "1".
    if value < 99.95 && value > 0.0 {
        let text = short(value);
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if value < 10_000.0 {
        return thousands(value.max(0.0).round() as u64);
    }
    scaled(value, &["", "k", "M", "G", "T", "P", "E"])
}

/// A round number for an axis: `15 TH/s` where [`hashrate`] says `15.0 TH/s`.
pub fn round(text: &str) -> String {
    let Some((number, unit)) = text.split_once(THIN) else {
        return text.to_owned();
    };
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{THIN}{unit}")
}

/// `17.3 W`, `3250 W`.
pub fn watts(watts: f64) -> String {
    match watts {
        watts if watts < 99.95 => format!("{:.1}{THIN}W", watts.max(0.0)),
        watts => format!("{}{THIN}W", thousands(watts.round() as u64)),
    }
}

/// `61 °C`.
pub fn celsius(celsius: f64) -> String {
    // A negative zero would have its sign.
    format!("{:.0}{THIN}°C", celsius.round() + 0.0)
}

/// `1.2 GB`, `480 MB`: decimal, as card makers count.
pub fn bytes(value: u64) -> String {
    scaled(value as f64, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// `925,114` with narrow spaces: `925 114`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * THIN.len_utf8());
    for (i, digit) in digits.chars().enumerate() {
        // 1000 to 9999 read better in one piece.
        if i > 0 && digits.len() > 4 && (digits.len() - i).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out
}

/// An amount in bitcoin: `3.13874126`.
pub fn btc(satoshi: u64) -> String {
    format!("{}.{:08}", satoshi / 100_000_000, satoshi % 100_000_000)
}

/// `8 s`, `4 min`, `3 h 05 min`, `24 h`, `12 days`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}{THIN}s"),
        120..=7_199 => format!("{}{THIN}min", seconds / 60),
        7_200..=172_799 => match seconds % 3600 / 60 {
            0 => format!("{}{THIN}h", seconds / 3600),
            minutes => format!("{}{THIN}h {minutes:02}{THIN}min", seconds / 3600),
        },
        _ => format!("{} days", thousands(seconds / 86_400)),
    }
}

/// A long time in the unit that fits: `11 days`, `3 months`, `41 years`, `2 million years`.
pub fn long_time(seconds: f64) -> String {
    const DAY: f64 = 86_400.0;
    const YEAR: f64 = 365.25 * DAY;
    if !seconds.is_finite() {
        return "never".to_owned();
    }
    let years = seconds / YEAR;
    match seconds {
        s if s < 2.0 * DAY => duration(s.max(0.0) as u64),
        s if s < 90.0 * DAY => format!("{} days", (s / DAY).round()),
        s if s < 2.0 * YEAR => format!("{} months", (s / (YEAR / 12.0)).round()),
        _ if years < 1e4 => format!("{} years", thousands(years.round() as u64)),
        _ if years < 1e6 => format!("{} thousand years", (years / 1e3).round()),
        _ if years < 1e9 => format!("{} million years", short(years / 1e6)),
        _ => "longer than the Earth is old".to_owned(),
    }
}

/// `12.4 ms`, `880 ms`, `1.25 s`.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.2}{THIN}ms"),
        ms if ms < 10.0 => format!("{ms:.1}{THIN}ms"),
        ms if ms < 1000.0 => format!("{ms:.0}{THIN}ms"),
        ms => format!("{:.1}{THIN}s", ms / 1000.0),
    }
}

/// A share of one as per cent, with as many digits as it needs: `47 %`, `0.8 %`, `0.0009 %`.
pub fn percent(part: f64) -> String {
    let value = part * 100.0;
    let text = match value {
        v if !v.is_finite() => return "unknown".to_owned(),
        v if v <= 0.0 => "0".to_owned(),
        v if v >= 10.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        v if v < 1e-9 => "under 0.000000001".to_owned(),
        v => {
            let digits = (-v.log10().floor()) as usize;
            // A second digit only where it says something: 0.12 %, but 0.0009 %.
            let digits = if v >= 0.01 { digits + 1 } else { digits };
            format!("{v:.digits$}")
        }
    };
    format!("{text}{THIN}%")
}

/// How much of a block a share is: `0.8 % of a block`. On a test chain a share is often more than one.
pub fn of_a_block(part: f64) -> String {
    match part {
        part if part >= 1.0 => "enough for a block".to_owned(),
        part => format!("{} of a block", percent(part)),
    }
}

/// `1 in 4 200`; a chance that is not small in per cent.
pub fn one_in(chance: f64) -> String {
    if chance <= 0.0 || !chance.is_finite() {
        return "none".to_owned();
    }
    if chance > 0.995 {
        return "nearly certain".to_owned();
    }
    if chance > 0.5 {
        return percent(chance);
    }
    let n = 1.0 / chance;
    if n < 1e6 {
        let n = if n < 100.0 { n.round() } else { round_significant(n) };
        format!("1 in {}", thousands(n as u64))
    } else {
        let (n, unit) = if n < 1e9 {
            (n / 1e6, "million")
        } else if n < 1e12 {
            (n / 1e9, "billion")
        } else {
            (n / 1e12, "trillion")
        };
        format!("1 in {} {unit}", short(n))
    }
}

/// An address or a hash in blocks of four, to be compared by eye.
pub fn in_fours(text: &str) -> Vec<&str> {
    let mut rest = text;
    let mut blocks = Vec::with_capacity(text.len() / 4 + 1);
    while let Some((at, _)) = rest.char_indices().nth(4) {
        let (block, tail) = rest.split_at(at);
        blocks.push(block);
        rest = tail;
    }
    if !rest.is_empty() {
        blocks.push(rest);
    }
    blocks
}

/// `00000000…a2b4c6d8`: enough of a hash to recognise it.
pub fn short_hash(hash: &str) -> String {
    if hash.is_ascii() && hash.len() > 20 {
        format!("{}…{}", &hash[..8], &hash[hash.len() - 8..])
    } else {
        hash.to_owned()
    }
}

/// Text of strangers, as it can be shown: no control characters, nothing that turns the direction
/// of writing, at most 64 characters. (Markup in it is harmless: the page escapes it.)
pub fn tame(text: &str) -> String {
    tame_to(text, 64)
}

/// As [`tame()`], with another length.
pub fn tame_to(text: &str, longest: usize) -> String {
    let visible = |c: &char| is_visible(*c);
    let mut tame: String = text.chars().filter(visible).take(longest).collect();
    if text.chars().filter(visible).nth(longest).is_some() {
        tame.push('…');
    }
    tame
}

fn scaled(mut value: f64, units: &[&str]) -> String {
    if !value.is_finite() || value <= 0.0 {
        return format!("0{THIN}{}", units[0]).trim_end_matches(THIN).to_owned();
    }
    let mut unit = 0;
    // 999.5 would round to "1000".
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{THIN}{}", short(value), units[unit]).trim_end_matches(THIN).to_owned()
}

/// Three significant digits, at least the whole part.
fn short(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn round_significant(value: f64) -> f64 {
    let scale = 10f64.powf(value.log10().floor() - 1.0);
    (value / scale).round() * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let plain = |s: String| s.replace(THIN, " ");
        assert_eq!(plain(hashrate(12.4e12)), "12.4 TH/s");
        assert_eq!(plain(hashrate(999.9e9)), "1.00 TH/s");
        assert_eq!(plain(hashrate(0.0)), "0 H/s");
        assert_eq!(plain(hashrate(f64::NAN)), "0 H/s");
        assert_eq!(plain(hashrate(78_000.0)), "78.0 kH/s");
        assert_eq!(difficulty(0.0015), "0.0015");
        assert_eq!(difficulty(0.00015), "0.00015");
        assert_eq!(difficulty(0.5), "0.5");
        assert_eq!(plain(difficulty(1000.0)), "1000");
        assert_eq!(
            [1.0, 1.1, 1.104, 12.34, 99.97].map(difficulty),
            ["1", "1.1", "1.1", "12.3", "100"]
        );
        assert_eq!([1.0, 340.0].map(of_a_block), ["enough for a block"; 2]);
        assert_eq!(plain(of_a_block(0.5)), "50 % of a block");
        assert_eq!(one_in(1.0), "nearly certain");
        assert_eq!(plain(difficulty(65_536.0)), "65.5 k");
        assert_eq!(plain(difficulty(146.47e12)), "146 T");
        assert_eq!(plain(thousands(925_114)), "925 114");
        assert_eq!(plain(thousands(21_000_000)), "21 000 000");
        assert_eq!(btc(313_874_126), "3.13874126");
        assert_eq!(btc(5), "0.00000005");
        assert_eq!(plain(bytes(12_600_000_000)), "12.6 GB");
        assert_eq!(plain(percent(0.0000009)), "0.00009 %");
        assert_eq!(plain(percent(0.0012)), "0.12 %");
        assert_eq!(plain(percent(0.473)), "47 %");
        assert_eq!(plain(percent(0.02)), "2.0 %");
        assert_eq!(plain(one_in(1.0 / 4217.0)), "1 in 4200");
        assert_eq!(plain(one_in(1.0 / 91_304.0)), "1 in 91 000");
        assert_eq!(plain(one_in(1.0 / 2.46e6)), "1 in 2.46 million");
        assert_eq!(plain(one_in(0.9)), "90 %");
    }

    #[test]
    fn times_read_well() {
        let plain = |s: String| s.replace(THIN, " ");
        assert_eq!(plain(duration(12)), "12 s");
        assert_eq!(plain(duration(150)), "2 min");
        assert_eq!(plain(duration(3 * 3600 + 300)), "3 h 05 min");
        assert_eq!(plain(duration(86_400)), "24 h");
        assert_eq!(plain(duration(86_400 * 12)), "12 days");
        assert_eq!(plain(long_time(86_400.0 * 365.25 * 41.0)), "41 years");
        assert_eq!(plain(long_time(f64::INFINITY)), "never");
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(1_231_006_505), "2009-01-03T18:15:05Z");
        assert_eq!(iso(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso(u64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(date(1_795_419_552), "2026-11-23 07:39 UTC");
    }

    #[test]
    fn strangers_words_are_tamed() {
        assert_eq!(tame("γ desk\u{202e}\r\n\u{0}x"), "γ deskx");
        assert_eq!(tame(&"y".repeat(70)), format!("{}…", "y".repeat(64)));
        assert_eq!(tame(&"y".repeat(64)), "y".repeat(64));
    }

    #[test]
    fn addresses_fall_into_fours() {
        assert_eq!(in_fours("bc1qw508d6"), ["bc1q", "w508", "d6"]);
        assert_eq!(in_fours("abcd"), ["abcd"]);
        assert!(in_fours("").is_empty());
        assert_eq!(in_fours("γγγγγ"), ["γγγγ", "γ"]);
    }
}
