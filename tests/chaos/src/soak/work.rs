//! What is done, and how often.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use weir_tests::control::Control;

use crate::{
    requests::{self, HOP},
    sender,
    stand::{HTTP, LOGS, STEADY, Stand},
};

/// Work of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Made-up sources and listed ones, as fast as can be.
    Flood,
    /// Another state of a list, from its server.
    List,
    /// Likewise, in a file.
    File,
    /// A configuration that is a little different, at SIGHUP.
    Reload,
    /// Likewise, over the control socket.
    Apply,
    /// SIGKILL, and a new agent.
    Kill,
    /// Bans that end soon, and some that are lifted.
    Bans,
    /// Clients that a proxy asks about, and what it tells of them.
    Requests,
}

/// Entries of a list that changes, of which some change each time.
const ENTRIES: usize = 3000;
const CHANGES: usize = 300;
/// Bans at a time.
const BANS: u32 = 40;
/// Sets of a thousand bans, each of which comes and ends.
const FILL_TURNS: u32 = 68;
/// Requests at a time.
const REQUESTS: usize = 10;

impl Work {
    pub(super) const ALL: [Self; 8] = [
        Self::Flood,
        Self::List,
        Self::File,
        Self::Reload,
        Self::Apply,
        Self::Kill,
        Self::Bans,
        Self::Requests,
    ];
    pub(super) const COUNT: usize = Self::ALL.len();

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Flood => "floods",
            Self::List => "lists from a server",
            Self::File => "lists from a file",
            Self::Reload => "reloads",
            Self::Apply => "policies applied",
            Self::Kill => "kills",
            Self::Bans => "sets of bans",
            Self::Requests => "sets of requests",
        }
    }

    const fn every(self) -> Duration {
        Duration::from_millis(match self {
            Self::Flood => 15_000,
            Self::List => 1_500,
            Self::File => 4_000,
            Self::Reload => 7_000,
            Self::Apply => 11_000,
            Self::Kill => 17_000,
            Self::Bans => 1_000,
            Self::Requests => 500,
        })
    }
}

/// Who works.
pub(super) struct Worker {
    pub(super) stand: Stand,
    done: [u64; Work::COUNT],
    due: [Instant; Work::COUNT],
    entries: Vec<Ipv4Addr>,
    logs: Option<UdpSocket>,
}

impl Worker {
    pub(super) fn new(stand: Stand) -> Self {
        let (done, due) = ([0; Work::COUNT], Work::ALL.map(|work| Instant::now() + work.every()));
        Self { stand, done, due, entries: Vec::new(), logs: None }
    }

    pub(super) fn done(&self, work: Work) -> u64 {
        self.done[work as usize]
    }

    /// Does what is due; agents are killed only if they may be.
    pub(super) fn turn(&mut self, kills: bool) -> Result<()> {
        let now = Instant::now();
        let is_due = |work: &Work| self.due[*work as usize] <= now && (kills || *work != Work::Kill);
        let Some(work) = Work::ALL.into_iter().find(is_due) else { return Ok(()) };
        // Not always after the same time.
        self.due[work as usize] = now + work.every().mul_f64(0.5 + self.stand.random.f64());
        self.work(work).with_context(|| work.name())?;
        self.done[work as usize] += 1;
        Ok(())
    }

    /// Has the agent keep all that it ever keeps: the last 65,536 changes of rules, twice over. That would
    /// else take half an hour, and look like growth.
    pub(super) fn fill(&mut self) -> Result<()> {
        for turn in 0..FILL_TURNS {
            let ban = |n: u32| {
                let address = Ipv4Addr::from(0x3000_0000 + ((turn % 34) << 12) + 2 * n);
                format!(r#"{{"prefix":"{address}/32","action":"ban","seconds":1}}"#)
            };
            let all: Vec<_> = (0..1000).map(ban).collect();
            self.request("POST", "/v1/rules", &format!(r#"{{"rules":[{}]}}"#, all.join(",")))?;
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn work(&mut self, work: Work) -> Result<()> {
        match work {
            Work::Flood => self.flood(),
            Work::List => self.list(),
            Work::File => self.file(),
            Work::Reload => {
                let config = self.config();
                self.stand.agent.configure(&config)?;
                self.stand.reload("ok")
            }
            Work::Apply => {
                let body = serde_json::json!({ "text": self.config() }).to_string();
                self.request("POST", "/v1/policies", &body).map(drop)
            }
            Work::Kill => {
                self.stand.agent.kill()?;
                self.stand.pause(0, 400);
                let log = self.stand.log_end();
                self.stand.agent.start()?;
                let said = self.stand.log_from(log);
                ensure!(said.contains("adopted=true"), "the maps were made anew: {said}");
                Ok(())
            }
            Work::Bans => self.bans(),
            Work::Requests => self.requests(),
        }
    }

    fn flood(&mut self) -> Result<()> {
        let mut random = self.stand.random.fork();
        let duration = Duration::from_millis(random.u64(300..=1500));
        let Stand { pair, sources, ledger, .. } = &self.stand;
        sender::flood(pair, sources, ledger, &mut random, duration).map(drop)
    }

    fn list(&mut self) -> Result<()> {
        let random = &mut self.stand.random;
        let mut another = || Ipv4Addr::from(0x2d00_0000 | random.u32(..) & 0x00ff_ffff);
        let keep = self.entries.len().saturating_sub(CHANGES);
        self.entries.truncate(keep);
        while self.entries.len() < ENTRIES {
            self.entries.push(another());
        }
        self.stand.random.shuffle(&mut self.entries);
        let mut text = STEADY.map(|line| format!("{line}\n")).concat();
        self.entries.iter().for_each(|entry| _ = writeln!(text, "{entry}"));
        self.stand.lists.list("/steady", text);
        // It may be asked already.
        self.stand.agent.weir(&["feeds", "refresh", "steady"]).map(drop)
    }

    fn file(&mut self) -> Result<()> {
        let many = self.stand.random.u32(1..2000);
        let text = (0..many).fold(String::new(), |mut text, n| {
            _ = writeln!(text, "{}", Ipv4Addr::from(0x2e00_0000 + 2 * n));
            text
        });
        self.stand.agent.write("local.netset", text).map(drop)
    }

    /// Returns the configuration with something of no consequence in it.
    fn config(&mut self) -> String {
        let third = self.stand.random.u8(..);
        self.stand.config(Some("auto")) + &format!("partners: [172.17.{third}.0/24]\n")
    }

    fn bans(&mut self) -> Result<()> {
        let first = self.stand.random.u32(..) & 0x00ff_0000;
        let prefix = |n: u32| format!("{}/32", Ipv4Addr::from(0x2f00_0000 + first + 2 * n));
        let ban = |n: u32| format!(r#"{{"prefix":"{}","action":"ban","seconds":5}}"#, prefix(n));
        let all: Vec<_> = (0..BANS).map(ban).collect();
        self.request("POST", "/v1/rules", &format!(r#"{{"rules":[{}]}}"#, all.join(",")))?;
        self.request("DELETE", &format!("/v1/rules/{}", prefix(0)), "").map(drop)
    }

    fn requests(&mut self) -> Result<()> {
        let namespace = self.stand.pair.server.clone();
        if self.logs.is_none() {
            self.logs = Some(namespace.run(|| Ok(UdpSocket::bind("127.0.0.1:0")?))?);
        }
        for _ in 0..REQUESTS {
            let client = Ipv4Addr::from(0x6480_0000 | self.stand.random.u32(..) & 0x003f_ffff);
            let head = format!("X-Forwarded-For: {client}, {HOP}\r\n");
            // The worker itself kills the agent, and not now.
            let wait = weir_tests::patience::seconds(10);
            let epoch = self.stand.ledger.epoch();
            let status = requests::ask(&namespace, HTTP, "/v1/auth", &head, wait);
            self.stand.ledger.request(epoch, status == Some(200));
            let line = format!(r#"{{"client":"{client}","peer":"{HOP}","status":"404","verdict":"allow"}}"#);
            _ = self.logs.as_ref().map(|logs| logs.send_to(line.as_bytes(), LOGS));
        }
        Ok(())
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut tries = 0;
        loop {
            let mut control = Control::connect(&self.stand.agent.socket())?;
            let (status, answer) = control.request(method, path, body)?;
            tries += 1;
            // Who asks without a pause is told to wait.
            if status == 429 && tries < 20 {
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            ensure!(status == 200, "{method} {path}: {status} {answer}");
            return Ok(answer);
        }
    }
}

impl Stand {
    /// Returns how many pins weir has.
    pub(super) fn pins(&self) -> Result<usize> {
        self.pair.server.run(|| count(Path::new("/sys/fs/bpf/weir")))
    }
}

/// Returns how many files there are in a directory and those in it.
fn count(directory: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}
