//! What the server's processes have used, from `/proc`.

use std::fs;

/// The processes of one server.
#[derive(Clone, Debug, Default)]
pub struct Server(pub Vec<u32>);

/// Sums over all its processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time, seconds.
    pub cpu: f64,
    /// Resident memory and its peak, kB.
    pub rss: u64,
    pub peak: u64,
    pub threads: u64,
    pub fds: u64,
    /// Bytes that went to storage.
    pub written: u64,
}

impl Server {
    pub fn used(&self) -> Used {
        self.0.iter().map(|pid| used(*pid)).fold(Used::default(), |a, b| Used {
            cpu: a.cpu + b.cpu,
            rss: a.rss + b.rss,
            peak: a.peak + b.peak,
            threads: a.threads + b.threads,
            fds: a.fds + b.fds,
            written: a.written + b.written,
        })
    }
}

fn used(pid: u32) -> Used {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    Used {
        cpu: cpu(pid),
        rss: field(&status, "VmRSS:"),
        peak: field(&status, "VmHWM:"),
        threads: field(&status, "Threads:"),
        fds: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64),
        written: field(&io, "write_bytes:"),
    }
}

/// The scheduler's own count, in nanoseconds, of all threads that live.
fn cpu(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let of = |path: std::path::PathBuf| -> Option<f64> {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    tasks.flatten().filter_map(|task| of(task.path())).sum::<f64>() / 1e9
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
