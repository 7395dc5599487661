//! What is so: the hashes of each second, and what the shares that come of them may differ by.

pub use soloist::difficulty::HASHES_PER_DIFFICULTY as HASHES;

/// What happened in some time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Hashes that were done while shares could be sent.
    pub hashes: f64,
    /// Variance of the hashes that the shares prove: each counts for `difficulty` times [`HASHES`].
    pub variance: f64,
    /// Seconds in which the server saw a connection.
    pub seconds: f64,
}

impl Sum {
    pub fn add(&mut self, other: Sum) {
        self.hashes += other.hashes;
        self.variance += other.variance;
        self.seconds += other.seconds;
    }

    fn less(self, other: Sum) -> Sum {
        Sum {
            hashes: self.hashes - other.hashes,
            variance: self.variance - other.variance,
            seconds: self.seconds - other.seconds,
        }
    }

    /// How far so many proven hashes are from the truth, in standard deviations of a normal variable
    /// that is as unlikely. By the deviance of a Poisson count of as many shares as have this
    /// variance: unlike the distance alone, it is right for few shares, too.
    pub fn sigma(&self, proven: f64) -> f64 {
        if self.hashes <= 0.0 || self.variance <= 0.0 {
            return 0.0;
        }
        let mean = self.hashes * self.hashes / self.variance;
        let count = (mean * proven / self.hashes).max(0.0);
        // A minute of the window's border more or less.
        let slack = 60.0 * mean / self.seconds.max(60.0);
        let count =
            if count > mean { (count - slack).max(mean) } else { (count + slack).min(mean) };
        let term = if count > 0.0 { count * (count / mean).ln() } else { 0.0 };
        (2.0 * (term - (count - mean)).max(0.0)).sqrt()
    }

    pub fn sigma_of_rate(&self, hashrate: f64) -> f64 {
        self.sigma(hashrate * self.seconds)
    }
}

/// Sums from the start to each second.
pub struct Track(Vec<Sum>);

impl Track {
    pub fn new() -> Track {
        Track(vec![Sum::default()])
    }

    /// The next second.
    pub fn push(&mut self, second: Sum) {
        let mut sum = *self.0.last().unwrap();
        sum.add(second);
        self.0.push(sum);
    }

    pub fn between(&self, from: i64, to: i64) -> Sum {
        let last = self.0.len() as i64 - 1;
        let at = |second: i64| self.0[second.clamp(0, last) as usize];
        if to <= from { Sum::default() } else { at(to).less(at(from)) }
    }
}
