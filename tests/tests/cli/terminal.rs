//! A terminal: a program in a pty, what it shows, and what is typed.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::Signal,
        termios::{LocalFlags, tcgetattr},
    },
    unistd::setsid,
};
use vt100::{Parser, Screen};
use weir_tests::{patience, process::Process};

const PATIENCE_SECONDS: u64 = 15;

/// A program in a terminal of its own.
pub(crate) struct Terminal {
    master: File,
    parser: Arc<Mutex<Parser>>,
    process: Process,
}

impl Terminal {
    /// Runs a program in a terminal of so many rows and columns.
    pub(crate) fn run(mut command: Command, rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let (master, slave) = (File::from(pty.master), File::from(pty.slave));
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm-256color");
        let take = || {
            setsid()?;
            // SAFETY: standard input is the terminal, which nobody else has.
            if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls only: no allocation, no lock.
        unsafe { command.pre_exec(take) };
        let process = Process::spawn(command).unwrap();
        let parser = Arc::new(Mutex::new(Parser::new(rows, columns, 1000)));
        let (mut output, seen) = (master.try_clone().unwrap(), Arc::clone(&parser));
        // Ends when the last of the slave's ends does.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().process(&bytes[..length]);
            }
        });
        drop(slave);
        Self { master, parser, process }
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as it should be.
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Screen) -> bool) {
        let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
        while !is_so(self.parser.lock().unwrap().screen()) {
            assert!(Instant::now() < deadline, "not within {PATIENCE_SECONDS} s: {what}\n{}", self.shown());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen shows a text.
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    pub(crate) fn shown(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Returns true if the first character that is shown is bold.
    pub(crate) fn starts_bold(&self) -> bool {
        self.parser.lock().unwrap().screen().cell(0, 0).is_some_and(vt100::Cell::bold)
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Waits until the program ends, and that the terminal is as before: lines are edited and echoed, the
    /// cursor is there, and so is what stood there before.
    pub(crate) fn ended_as_before(&mut self) -> ExitStatus {
        let status = self.process.wait(patience::seconds(PATIENCE_SECONDS)).unwrap();
        self.wait("the screen of before", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        let flags = tcgetattr(&self.master).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "{flags:?}");
        status
    }
}
