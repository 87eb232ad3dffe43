use std::{env, fmt, io};

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    registry::LookupSpan,
};

/// What systemd sets for a service whose output is a stream of the journal: its device and inode, so that
/// whoever redirects standard error again does not get priorities there.
const STREAM: &str = "JOURNAL_STREAM";

/// Returns true if what is written to standard error goes to the journal.
pub(super) fn takes_stderr() -> bool {
    let stream = env::var(STREAM).unwrap_or_default();
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// A line that begins with its priority, as in `sd-daemon(3)`, and has no time: the journal notes its own.
#[derive(Debug)]
pub(super) struct Line(Format<Full, ()>);

impl Default for Line {
    fn default() -> Self {
        Self(Format::default().without_time().with_target(false).with_level(false))
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// Returns the priority in syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_has_a_priority_and_no_time() {
        let page = Page::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Line::default())
            .with_writer(page.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(interface = "eth0", "attached");
            tracing::error!("refused");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<6>attached interface=\"eth0\"\n<3>refused\n");
    }

    #[test]
    fn standard_error_of_a_test_is_no_stream_of_the_journal() {
        assert!(!takes_stderr());
    }
}
