//! Medians of many runs, side by side.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde_json::Value;

/// The figures worth comparing, as they stand in a line.
const FIGURES: [&str; 15] = [
    "cpu_us_per_share",
    "answer_us/p50",
    "answer_us/p99",
    "shares_per_s",
    "rpc_ms/p50",
    "first_job_ms/p50",
    "last_job_ms/p50",
    "last_of_call/p50",
    "full_last_ms/p50",
    "answer_ms/p50",
    "node_tip_ms/p50",
    "cpu_percent",
    "rss_kb",
    "threads",
    "template_ms/p50",
];

/// Reads lines from standard input and prints a table in Markdown. Each ratio is to the last server
/// by name order of appearance, first server first.
pub fn print() -> io::Result<()> {
    let mut names: Vec<String> = Vec::new();
    let mut rows: BTreeMap<(String, usize), BTreeMap<String, Vec<f64>>> = BTreeMap::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
        let name = line["name"].as_str().unwrap_or("server").to_owned();
        if !names.contains(&name) {
            names.push(name.clone());
        }
        for (place, figure) in FIGURES.iter().enumerate() {
            let (key, part) = figure.split_once('/').unwrap_or((figure, ""));
            let value = if part.is_empty() { &line[key] } else { &line[key][part] };
            if let Some(value) = value.as_f64() {
                let cell = rows.entry((what(&line), place)).or_default();
                cell.entry(name.clone()).or_default().push(value);
            }
        }
    }
    println!("| | {} | best other / first |", names.join(" | "));
    println!("|---|{}---|", "---|".repeat(names.len()));
    for ((what, place), cells) in &rows {
        let medians: Vec<Option<f64>> =
            names.iter().map(|name| cells.get(name).map(|values| median(values))).collect();
        let shown: Vec<String> = medians.iter().map(|m| m.map_or("–".into(), show)).collect();
        let own = medians.first().copied().flatten();
        let others = medians.iter().skip(1).flatten().copied().min_by(f64::total_cmp);
        let ratio = own.zip(others).map_or("–".into(), |(own, other)| show(other / own));
        println!("| {what}: {} | {} | {ratio} |", FIGURES[*place], shown.join(" | "));
    }
    Ok(())
}

/// What a line measured.
fn what(line: &Value) -> String {
    let mut words = vec![line["mode"].as_str().unwrap_or_default().to_owned()];
    if let Some(miners) = line["miners"].as_u64() {
        words.push(format!("{miners} miners"));
    }
    if let Some(window) = line["window"].as_u64() {
        words.push(format!("{window} in flight"));
    }
    if let Some(rate) = line["rate"].as_f64().filter(|rate| *rate > 0.0) {
        words.push(format!("{rate} a second"));
    }
    if line["ground"] == true {
        words.push("accepted".into());
    }
    if line.get("full_last_ms").is_some() {
        words.push("full mempool".into());
    }
    words.join(", ")
}

pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn show(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
