//! The canary's share by Stratum V2: encrypted, from a miner that knows our authority key.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use async_io::Async;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};

use crate::status::ChannelKind;
use crate::stratum::v2::frame::{self, Opener};
use crate::stratum::v2::miner::{Heard, Login, Miner};
use crate::stratum::v2::noise::{ACT_2, Initiator, Transport};

use super::{Attempt, Failure, USER_AGENT, search};

/// Hashes a second that it says it makes: it is given the lowest difficulty.
const HASHRATE: f32 = 1.0;

impl Attempt {
    /// Time from the submission of the share to its answer.
    pub(super) async fn share_by_v2(&self, kind: ChannelKind) -> Result<Duration, Failure> {
        let mut line = Line::open(self).await?;
        let (vendor, firmware) = USER_AGENT.split_once('/').unwrap_or((USER_AGENT, ""));
        let login = Login {
            kind,
            user: format!("{},{}", self.name, self.password),
            vendor: vendor.to_owned(),
            firmware: firmware.to_owned(),
            hashrate: HASHRATE,
        };
        let mut out = Vec::new();
        let mut miner = Miner::new(login, &mut out);
        let task = loop {
            line.say(&mut out).await?;
            if let Heard::Task(task) = line.hear(&mut miner, &mut out).await? {
                break task;
            }
        };
        let difficulty = task.target.difficulty();
        let nonce = blocking::unblock(move || search(&task.header, difficulty)).await;
        miner.submit(&task, nonce.ok_or(Failure::NoShare)?, &mut out);
        let sent = Instant::now();
        line.say(&mut out).await?;
        loop {
            if let Heard::Counts(_) = line.hear(&mut miner, &mut out).await? {
                return Ok(sent.elapsed());
            }
        }
    }
}

/// An encrypted connection.
struct Line {
    stream: Async<TcpStream>,
    transport: Transport,
    opener: Opener,
    /// Whole frames that nobody has looked at.
    frames: Vec<u8>,
}

impl Line {
    async fn open(attempt: &Attempt) -> Result<Line, Failure> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let initiator = Initiator::new(&random)?;
        let mut stream = Async::<TcpStream>::connect(attempt.address).await?;
        stream.write_all(&initiator.act_1()).await?;
        let mut act_2 = [0; ACT_2];
        stream.read_exact(&mut act_2).await.map_err(|_| Failure::Closed)?;
        let transport = initiator.finish(&act_2, attempt.authority.as_ref())?;
        Ok(Line { stream, transport, opener: Opener::default(), frames: Vec::new() })
    }

    /// Sends frames.
    async fn say(&mut self, frames: &mut Vec<u8>) -> Result<(), Failure> {
        let mut sealed = Vec::new();
        frame::seal(&mut self.transport, frames, &mut sealed);
        frames.clear();
        Ok(self.stream.write_all(&sealed).await?)
    }

    /// Waits for the next message.
    async fn hear(&mut self, miner: &mut Miner, out: &mut Vec<u8>) -> Result<Heard, Failure> {
        loop {
            let mut rest = &self.frames[..];
            if let Some(frame) = frame::next(&mut rest) {
                let heard = miner.hear(&frame, out);
                let used = self.frames.len() - rest.len();
                self.frames.drain(..used);
                return Ok(heard?);
            }
            let mut chunk = [0; 4096];
            let length = match self.stream.read(&mut chunk).await? {
                0 => return Err(Failure::Closed),
                length => length,
            };
            let opened = self.opener.take(&mut self.transport, &chunk[..length], &mut self.frames);
            opened.map_err(|_| Failure::Unreadable("a message"))?;
        }
    }
}
