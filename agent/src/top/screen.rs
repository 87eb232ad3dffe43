use std::{
    io::{self, Stdout, Write},
    panic,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

/// The terminal, for as long as this lives. Then it is as it was before: also if the thread that
/// has opened it panics, in which case what it says of it is to be read.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    // Given back behind it.
    _given: Given,
}

impl Screen {
    /// Takes the terminal of this process.
    ///
    /// # Errors
    /// If it is none.
    pub fn open() -> io::Result<Self> {
        let given = Given::take()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self { terminal, _given: given })
    }

    /// Draws.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

/// That the terminal is in our hands.
struct Given;

/// Whether it is: given back twice, the cursor would go back to where it was, over what has been said since.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Given {
    fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        TAKEN.store(true, SeqCst);
        // From here on it is given back, whatever fails.
        let given = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        let (before, owner) = (panic::take_hook(), thread::current().id());
        panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == owner {
                give_back();
            }
            before(panic);
        }));
        Ok(given)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        give_back();
    }
}

/// Where the terminal is gone there is nothing to be done.
fn give_back() {
    if !TAKEN.swap(false, SeqCst) {
        return;
    }
    _ = disable_raw_mode();
    let mut out = io::stdout();
    _ = execute!(out, LeaveAlternateScreen, Show);
    _ = out.flush();
}
