use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use flate2::read::MultiGzDecoder;

/// First bytes of a gzip file (RFC 1952), and of a zstd frame (RFC 8878).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Memory that a zstd frame may ask for, as a power of two: what the command line tool allows.
const ZSTD_WINDOW_MAX: u32 = 27;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// How far a file was read, and what went wrong with that.
#[derive(Debug, Default)]
pub(super) struct Progress {
    read: AtomicU64,
    size: Option<u64>,
    error: Mutex<Option<io::Error>>,
}

impl Progress {
    /// Returns how many bytes were read, and how many there are.
    pub(super) fn get(&self) -> (u64, Option<u64>) {
        (self.read.load(Relaxed), self.size)
    }

    /// Returns why the last read failed: whoever reads records does not say.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Bytes of a capture, uncompressed.
pub(super) struct Input {
    bytes: Box<dyn Read + Send>,
    progress: Arc<Progress>,
    /// What the next read fails with: the bytes before it are good.
    failed: Option<io::Error>,
}

/// Opens a file; `-` is standard input.
pub(super) fn open(path: &Path) -> io::Result<(Input, Compression, Arc<Progress>)> {
    if path == Path::new("-") {
        return from(io::stdin(), None);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    // A pipe has no size.
    from(file, metadata.is_file().then_some(metadata.len()))
}

/// Looks how `source` is compressed.
pub(super) fn from(
    source: impl Read + Send + 'static,
    size: Option<u64>,
) -> io::Result<(Input, Compression, Arc<Progress>)> {
    let progress = Arc::new(Progress { size, ..Progress::default() });
    let mut source = Counted { source, progress: Arc::clone(&progress) };
    let mut head = Vec::new();
    source.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let compression = match head.as_slice() {
        [first, second, ..] if [*first, *second] == GZIP => Compression::Gzip,
        head if head == ZSTD => Compression::Zstd,
        _ => Compression::None,
    };
    let whole = io::Cursor::new(head).chain(source);
    let bytes: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_MAX)?;
            Box::new(decoder)
        }
    };
    Ok((Input { bytes, progress: Arc::clone(&progress), failed: None }, compression, progress))
}

/// Fills the buffer: records are looked for in what one read brings, and a pipe brings little.
impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(self.tell(error));
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.bytes.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled > 0 => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => return Err(self.tell(error)),
            }
        }
        Ok(filled)
    }
}

impl Input {
    /// Keeps an error where it is found, and returns one to be passed on.
    fn tell(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        *self.progress.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        kind.into()
    }
}

struct Counted<R> {
    source: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.progress.read.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}
